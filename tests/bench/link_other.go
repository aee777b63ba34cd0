//go:build !linux

package main

import (
	"errors"
	"net"
	"time"
)

type link struct{ net.Listener }

// startLink fails: TUN devices and network namespaces are Linux's.
func startLink(time.Duration) (*link, error) { return nil, errors.ErrUnsupported }
