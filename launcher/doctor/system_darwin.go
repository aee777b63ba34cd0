package doctor

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"mirrord/codesign/macho"
	"mirrord/launcher/probe"
	"mirrord/launcher/run"
	"mirrord/sip"
	"mirrord/sip/copies"
)

func examineSystem() []Finding {
	s := sip.New().Host().System()
	m := mac{version: s.Version, arch: s.Arch, sip: s.SIP, rosetta: s.Rosetta}
	m.build, _ = unix.Sysctl("kern.osversion")
	translated, _ := unix.SysctlUint32("sysctl.proc_translated") // not there on Intel
	m.translated = translated == 1
	m.developer = developerDir()
	return m.findings()
}

// developerDir is where xcode-select(1) looks.
func developerDir() string {
	if dir := os.Getenv("DEVELOPER_DIR"); dir != "" {
		return dir
	}
	dirs := []string{"/Applications/Xcode.app/Contents/Developer", "/Library/Developer/CommandLineTools"}
	if to, err := os.Readlink("/var/db/xcode_select_link"); err == nil {
		dirs = []string{to}
	}
	for _, dir := range dirs {
		if _, err := os.Stat(dir + "/usr/bin"); err == nil {
			return dir
		}
	}
	return ""
}

func examineSecurity() []Finding { return securityTools("/") }

func noexec(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Flags&unix.MNT_NOEXEC != 0
}

// strategies: a program that nothing guards is a copy of this one with a plain signature; a guarded one is /usr/bin/true.
func strategies() []probe.Strategy {
	return []probe.Strategy{
		{Name: Inject, What: "a program that nothing guards", Prepare: func(context.Context) (string, []string, error) {
			self, err := os.Executable()
			if err != nil {
				return "", nil, err
			}
			arch := map[string]string{"amd64": "x86_64", "arm64": "arm64"}[runtime.GOARCH]
			path, err := copyOf(self, arch)
			return path, []string{"version"}, err
		}},
		{Name: probe.CopyOf + "arm64", What: "a copy of a guarded program's arm64 slice", Prepare: guarded("arm64")},
		{Name: probe.CopyOf + "x86_64", What: "a copy of a guarded program's x86_64 slice", Prepare: guarded("x86_64")},
	}
}

func guarded(arch string) func(context.Context) (string, []string, error) {
	return func(context.Context) (string, []string, error) {
		s := sip.New().Host().System()
		if arch != s.Arch && !(arch == "x86_64" && s.Rosetta) {
			return "", nil, probe.ErrNone
		}
		path, err := copyOf("/usr/bin/true", arch)
		return path, nil, err
	}
}

// copyOf gives probe.ErrNone where the program has no such slice.
func copyOf(path, arch string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	image, err := macho.Read(f, info.Size())
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(image.Slices, func(s *macho.Slice) bool { return s.Arch.String() == arch }) {
		return "", probe.ErrNone
	}
	dir, err := run.CacheFolder()
	if err != nil {
		return "", err
	}
	store, err := copies.Open(filepath.Join(dir, "copies"))
	if err != nil {
		return "", err
	}
	return store.Copy(path, arch)
}
