//go:build !linux

package pod

import "errors"

func (p *process) hostname() (string, error) { return "", errors.ErrUnsupported }
