// Command walker is the program of Go that the benchmarks run plainly and under supervision. It does one piece of work and ends:
//
//	stat N FILE    looks at a file
//	open N FILE    opens and closes it
//	walk FOLDER    looks at everything below, as find does
//	read FOLDER    reads every file below
//	exec PROGRAM…  is another program from then on, under the same supervision
package main

import (
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

func main() {
	work, args := os.Args[1], os.Args[2:]
	if work == "exec" {
		path, err := exec.LookPath(args[0])
		if err == nil {
			err = syscall.Exec(path, args, os.Environ())
		}
		log.Fatal(err)
	}
	n, _ := strconv.Atoi(args[0])
	for range n {
		if work == "stat" {
			if _, err := os.Stat(args[1]); err != nil {
				log.Fatal(err)
			}
			continue
		}
		f, err := os.Open(args[1])
		if err != nil {
			log.Fatal(err)
		}
		f.Close()
	}
	if n > 0 {
		return
	}
	err := filepath.WalkDir(args[0], func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it went away meanwhile
		}
		if work == "read" && d.Type().IsRegular() {
			_, err = os.ReadFile(path)
			return err
		}
		_, _ = d.Info()
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
}
