//go:build !linux

package netns

import (
	"errors"
	"os"
)

// Open fails: only Linux has network namespaces.
func Open(string) (*Namespace, error) { return nil, errors.ErrUnsupported }

func inside(*os.File, func() error) error { return errors.ErrUnsupported }
