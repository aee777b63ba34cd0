package run

import (
	"fmt"
	"os"
	"path/filepath"
)

// maxScratch leaves the broker's socket room for its name: sun_path holds 104 bytes on macOS, with the zero byte (sys/un.h).
const maxScratch = 103 - len("/12345678")

// scratchFolder makes the session's own folder, which nobody else may enter. Its name has the session's id, so the processes of the session can be
// told by the address of the broker's socket in it. In the user's temporary folder it is out of others' sight; where the path of that is too
// long for a socket, /tmp has it.
func scratchFolder(session string) (string, error) {
	for _, folder := range []string{os.TempDir(), "/tmp"} {
		path := scratchIn(folder, session)
		if !filepath.IsAbs(path) || len(path) > maxScratch {
			continue
		}
		if err := os.Mkdir(path, 0o700); err != nil { // one that is there already is another's
			return "", fmt.Errorf("cannot make a folder for the session: %w\nhint: TMPDIR has to name a folder that you may write to", err)
		}
		return path, nil
	}
	return "", fmt.Errorf("the session %q has no place for its socket", session)
}

func scratchIn(folder, session string) string { return filepath.Join(folder, "mirrord-"+session) }

// removeScratch removes what a killed broker has left.
func removeScratch(session string) {
	for _, folder := range []string{os.TempDir(), "/tmp"} {
		_ = os.RemoveAll(scratchIn(folder, session))
	}
}
