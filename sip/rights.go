package sip

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
)

// needRights are programs that are of no use without the group or the capabilities that their file gives them, which a copy would not have.
var needRights = strings.Fields(`
	ping ping4 ping6 fping fping6 arping clockdiff mtr-packet traceroute6.iputils dumpcap tcpdump nmap gst-ptp-helper
	newuidmap newgidmap setcap suexec
	chage expiry unix_chkpwd crontab at wall write bsd-write dotlockfile locate mlocate plocate slocate utempter`)

// capabilities are the names of the bits (linux/capability.h), which capabilities(7) explains.
var capabilities = strings.Fields(`chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service
	net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice
	sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend
	audit_read perfmon bpf checkpoint_restore`)

func capabilityNames(set uint64) []string {
	var names []string
	for i, name := range capabilities {
		if set>>i&1 != 0 {
			names = append(names, "cap_"+name)
		}
	}
	return names
}

// supervised ends the reason of a program whose system calls are answered.
const supervised = "; mirrord answers its calls"

// judge decides about the binary f of v: the layer goes into the program itself, or into a copy of the file, which has no rights to protect, or its calls are
// answered. privilege is why the loader would keep the layer out of it, or "".
func (e *Engine) judge(v *Verdict, f *file, privilege string, r Request) {
	lost := cmp.Or(strings.Join(f.rights, ", "), "these rights")
	own := f.reason == reasonStatic || f.reason == reasonGo // makes its own system calls
	switch {
	case r.Supervised && f.reason != reasonMachine:
		v.Kind = Supervise
		if privilege != "" {
			v.Reason = privilege + "; below a supervised program it runs without " + lost
		}
	case own && privilege == reasonSetuid:
		v.outside(privilege)
	case own && privilege != "" && slices.Contains(needRights, realName(v.Program)):
		v.outside(privilege + "; it needs " + lost + ", and would not have that under supervision")
	case own && e.supervises && e.cannot != nil:
		v.outside(f.reason + "; " + e.cannot.Error())
	case own && e.supervises && r.AsIs:
		v.outside(f.reason + "; it is started in a way that leaves no room for supervision")
	case own && e.supervises:
		v.Kind, v.Reason = Supervise, f.reason+supervised
		if privilege != "" {
			v.Notes = append(v.Notes, "runs without "+lost)
		}
	case f.reason != "":
		v.outside(f.reason)
	case privilege == "":
		v.Kind = Inject
	case privilege == reasonSetuid:
		v.outside(privilege)
	case f.unreadable:
		v.outside(privilege + "; nobody may read the file to copy it")
	case f.origin:
		v.outside(privilege + "; a copy would not find its libraries, which it looks for beside itself ($ORIGIN)")
	case slices.Contains(needRights, realName(v.Program)):
		v.outside(privilege + "; it needs " + lost + ", and a copy would not have that")
	case r.AsIs:
		v.outside(privilege + "; it is started in a way that leaves no room for a copy")
	default:
		v.Kind, v.Reason = Copy, privilege+"; a copy without "+lost+" runs"
	}
}

// realName is the name of the file that path leads to.
func realName(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return filepath.Base(path)
}
