// Changes files in every way that package os has, in the folder that it is told.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

func say(what string, err error) {
	var e *fs.PathError
	if errors.As(err, &e) {
		err = e.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		err = l.Err
	}
	fmt.Println(what, err)
}

func main() {
	say("chdir", os.Chdir(os.Args[1]))
	say("mkdir", os.MkdirAll("go/x/y", 0o750))
	say("write", os.WriteFile("go/x/f", []byte("one"), 0o640))
	f, err := os.OpenFile("go/x/f", os.O_APPEND|os.O_WRONLY, 0)
	say("append", err)
	f.WriteString(" two")
	say("sync", f.Sync())
	say("close", f.Close())
	b, err := os.ReadFile("go/x/f")
	say(string(b), err)
	say("rename", os.Rename("go/x/f", "go/g"))
	say("chmod", os.Chmod("go/g", 0o604))
	say("times", os.Chtimes("go/g", time.Unix(1, 0), time.Unix(2, 0)))
	info, err := os.Stat("go/g")
	say(fmt.Sprint(info.Size(), info.Mode(), info.ModTime().Unix()), err)
	say("symlink", os.Symlink("g", "go/l"))
	say("link", os.Link("go/g", "go/h"))
	say("truncate", os.Truncate("go/l", 3))
	t, err := os.CreateTemp("go", "t")
	say("temporary", err)
	fmt.Fprint(t, "content")
	info, err = t.Stat()
	say(fmt.Sprint(info.Size(), info.Mode()), err)
	say("remove", os.Remove(t.Name()))
	_, err = os.OpenFile("go/g", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	say("exclusive", err)
	say("not empty", os.Remove("go/x"))
	say("below a file", os.Mkdir("go/g/x", 0o700))
	filepath.WalkDir("go", func(p string, e fs.DirEntry, err error) error {
		fmt.Println(p, e.Type(), err)
		return nil
	})
	say("all", os.RemoveAll("go/x"))
	r, err := os.OpenFile("go/rw", os.O_RDWR|os.O_CREATE, 0o644)
	say("both", err)
	r.WriteAt([]byte("0123456789"), 0)
	part := make([]byte, 3)
	r.ReadAt(part, 4)
	say(string(part), r.Truncate(5))
	info, err = r.Stat()
	say(fmt.Sprint(info.Size()), err)
	say("mode", r.Chmod(0o600))
	say("dot", os.Rename(".", "elsewhere"))
}
