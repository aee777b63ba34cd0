package rules

// The lists are those that users of the leading peer know: whose a path is when no pattern of theirs says so. All without case.

// localDirs are local with all they hold.
var localDirs = []string{
	"/proc", "/sys", "/lib", "/lib32", "/lib64", "/etc", "/usr", "/home", "/bin", "/sbin", "/dev", "/opt", "/tmp", "/var/tmp",
	"/var/db/timezone/zoneinfo", "/snap", "/run", "/selinux", "/nix", "/Program Files",
}

// remoteFiles are the exceptions below localDirs, for reading: what the pod's network needs to be believed.
var remoteFiles = []string{"/etc/resolv.conf", "/etc/hosts", "/etc/hostname", certs}

// certs are whom the pod trusts.
const certs = "/etc/ssl/certs"

// notFoundInHome would give the program the developer's own identity in the cloud.
var notFoundInHome = []string{".config/gcloud", ".kube", ".azure"}

// localSuffixes end the names of code, which belongs to the program that runs here.
var localSuffixes = []string{
	".so", ".sh", ".rb", ".d", ".pyc", ".py", ".jar", ".class", ".js", ".pth", ".plist", ".pdb", ".dll", "venv.cfg", "/jvm.cfg", "/package.json",
	"/.yarnrc", "/.yarnrc.yml", "/.yarnrc.json", "/.tool-versions",
}

// localAnywhere make a path local wherever they stand in it. The last is .NET's diagnostics socket.
var localAnywhere = []string{"/node_modules", ".asdf/", "clr-debug-pipe-"}

// defaultNames is the automaton of everything that is known by its end or middle.
func defaultNames() *automaton {
	var t trie
	for _, s := range localSuffixes {
		t.exactly(s, defaultLocal)
	}
	for _, s := range localAnywhere {
		t.beginning(s, defaultLocal)
	}
	return t.compileAnywhere()
}
