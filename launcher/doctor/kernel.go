package doctor

import (
	"io/fs"
	"strings"
)

// linuxFindings looks at what of the kernel's files in root bears on sessions (proc(5)).
func linuxFindings(root fs.FS, name string) []Finding {
	all := []Finding{{Name: "release", State: OK, Message: name}}
	status := lines(root, "proc/self/status")
	if status == nil {
		return append(all, Finding{Name: "proc", State: Wrong, Message: "/proc cannot be read, so the processes of a session cannot be looked after", Hint: "mount -t proc proc /proc"})
	}
	field := func(name string) string {
		for _, line := range status {
			if key, value, ok := strings.Cut(line, ":"); ok && key == name {
				return strings.TrimSpace(value)
			}
		}
		return ""
	}
	switch field("Seccomp") {
	case "1", "2":
		all = append(all, Finding{Name: "seccomp", State: Note, Message: "a seccomp filter is in force, as in containers; programs that it does not let make sockets or memory files fail",
			Hint: "if the layer does not load below, try without the container's profile (docker: --security-opt seccomp=unconfined)"})
	default:
		all = append(all, Finding{Name: "seccomp", State: OK, Message: "no seccomp filter is in force"})
	}
	if field("NoNewPrivs") == "1" {
		all = append(all, Finding{Name: "privileges", State: Note, Message: "no program can gain rights here (no_new_privs): sudo and the like do not work, and take the layer"})
	}
	switch scope := strings.Join(lines(root, "proc/sys/kernel/yama/ptrace_scope"), ""); scope {
	case "2", "3":
		all = append(all, Finding{Name: "ptrace", State: Note, Message: "tracing is for administrators only (yama/ptrace_scope " + scope + "): debuggers attach to nothing, also within a session",
			Hint: "sysctl kernel.yama.ptrace_scope=1, until the next start of the system"})
	default:
		all = append(all, Finding{Name: "ptrace", State: OK, Message: "a parent may trace its children"})
	}
	return all
}

// linuxSecurity looks at modules of the kernel that judge what is executed or loaded.
func linuxSecurity(root fs.FS) (all []Finding) {
	if text := strings.Join(lines(root, "sys/fs/selinux/enforce"), ""); text == "1" {
		all = append(all, Finding{Name: "selinux", State: Note, Message: "SELinux enforces its policy: programs in domains of their own may not load the layer",
			Hint: "ausearch -m avc -ts recent shows what was denied"})
	}
	profile := strings.Trim(strings.Join(lines(root, "proc/self/attr/current"), ""), "\x00")
	if strings.HasSuffix(profile, "(enforce)") {
		all = append(all, Finding{Name: "apparmor", State: Note, Message: "this process is confined by AppArmor (" + profile + "), and what it starts, too",
			Hint: "journalctl -k --grep apparmor shows what was denied"})
	}
	if loaded := lines(root, "etc/ld.so.preload"); strings.Join(loaded, "") != "" {
		all = append(all, Finding{Name: "preload", State: Note, Message: "/etc/ld.so.preload loads libraries into every program: " + strings.Join(loaded, ", "),
			Hint: "the layer stands before them; some of them replace the same functions"})
	}
	if all == nil {
		all = []Finding{{Name: "modules", State: OK, Message: "nothing was found that judges what is loaded into programs"}}
	}
	return all
}

// lines are those of a small file, nil when it cannot be read.
func lines(root fs.FS, name string) []string {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}
