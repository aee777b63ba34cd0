package files

import (
	"os"
	"path/filepath"
)

// Address is a path by which connect(2) reaches what is at path inside root, which was opened by its own path. A link that is put there meanwhile is
// followed: there is no way by a descriptor. Errors are errnos.
func Address(root *os.File, path string) (address string, release func(), err error) {
	p, err := resolve(root, path, false)
	if err != nil {
		return "", nil, err
	}
	p.close()
	return filepath.Join(root.Name(), p.path), func() {}, nil
}
