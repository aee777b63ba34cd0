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

// judge decides about the binary f of v: the layer goes into the program itself, or into a copy of the file, which has no rights to protect.
// privilege is why the loader would keep it out of the program, or "". asIs: nothing can be put in the program's place.
func (v *Verdict) judge(f *file, privilege string, asIs bool) {
	lost := cmp.Or(strings.Join(f.rights, ", "), "these rights")
	switch {
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
	case asIs:
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
