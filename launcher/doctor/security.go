package doctor

import (
	"path/filepath"
	"strings"
)

// tool is a security product of macOS that judges what is executed, or what is loaded into programs.
type tool struct {
	name      string
	paths     []string // where it is installed; * as in filepath.Match
	extension string   // the identifier of its system extension, of which there is a folder in /Library/SystemExtensions/UUID
	advice    string   // instead of advise; may be empty
}

const advise = "if programs are killed at once or run without the layer, ask who manages this Mac to allow ad hoc signed programs and libraries below ~/Library/Caches; " +
	"their signatures' identifiers begin with \"mirrord\""

// tools. Sources: the vendors' pages on deploying each by a management profile, which name the extension, and for those without one Zscaler's list of
// the files of endpoint agents (help.zscaler.com, device posture).
var tools = []tool{
	{name: "Santa", extension: "com.northpolesec.santa.daemon", paths: []string{"/Applications/Santa.app", "/usr/local/bin/santactl"},
		advice: "in its mode Lockdown it blocks copies of programs, unless what makes them is allowed as a compiler (santa docs, binary authorization)"},
	{name: "Santa (of Google)", extension: "com.google.santa.daemon",
		advice: "in its mode Lockdown it blocks copies of programs, unless what makes them is allowed as a compiler (santa docs, binary authorization)"},
	{name: "CrowdStrike Falcon", extension: "com.crowdstrike.falcon.Agent", paths: []string{"/Applications/Falcon.app"}},
	{name: "SentinelOne", extension: "com.sentinelone.network-monitoring", paths: []string{"/Library/Sentinel/sentinel-agent.bundle"}},
	{name: "Jamf Protect", extension: "com.jamf.protect.security-extension", paths: []string{"/Applications/JamfProtect.app"}},
	{name: "Microsoft Defender", extension: "com.microsoft.wdav.epsext", paths: []string{"/Applications/Microsoft Defender.app"}},
	{name: "Carbon Black Cloud", extension: "com.vmware.carbonblack.cloud.se-agent.extension", paths: []string{"/Applications/VMware Carbon Black Cloud*"}},
	{name: "Cortex XDR", extension: "com.paloaltonetworks.traps.securityextension", paths: []string{"/Library/Application Support/PaloAltoNetworks/Traps"}},
	{name: "Sophos", extension: "com.sophos.endpoint.scanextension"},
}

// securityTools finds the tools that are installed below root, which is "/" but for tests.
func securityTools(root string) (all []Finding) {
	for _, t := range tools {
		paths := t.paths
		if t.extension != "" {
			paths = append([]string{"/Library/SystemExtensions/*/" + t.extension + ".systemextension"}, paths...)
		}
		for _, path := range paths {
			found, _ := filepath.Glob(filepath.Join(root, path))
			if len(found) == 0 {
				continue
			}
			hint := t.advice
			if hint == "" {
				hint = advise
			}
			all = append(all, Finding{Name: "tool", State: Note, Message: t.name + " is installed: " + strings.TrimPrefix(found[0], strings.TrimSuffix(root, "/")), Hint: hint})
			break
		}
	}
	if all == nil {
		all = []Finding{{Name: "tool", State: OK, Message: "no tool was found that judges what is executed"}}
	}
	return all
}
