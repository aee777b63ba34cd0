package pod

import (
	"fmt"
	"os"
)

// WrongUserError says that the agent must be started as the user of the target's process, which an agent that is not root cannot become.
type WrongUserError struct{ UID, GID int }

func (e *WrongUserError) Error() string {
	return fmt.Sprintf("the target's process belongs to user %d, group %d, and the agent runs as %d, %d", e.UID, e.GID, os.Geteuid(), os.Getegid())
}
