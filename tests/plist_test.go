package tests

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
)

// bundle are the keys that the app's bundle needs; a value is a pattern. What is not here must not be there either: LSUIElement would take the window's menu, LSFileQuarantineEnabled
// would mark files that programs write, LSEnvironment reaches no program that is started otherwise. Sources: Apple's property list key reference and TN3179.
var bundle = map[string]string{
	"CFBundleDevelopmentRegion":     "en",
	"CFBundleDisplayName":           "mirrord",
	"CFBundleExecutable":            "mirrord-app", // as `make app` names it
	"CFBundleIconFile":              "mirrord",
	"CFBundleIdentifier":            `io\.mirrord\.app`, // permissions and preferences hang on it, so it never changes
	"CFBundleInfoDictionaryVersion": `6\.0`,
	"CFBundleName":                  "mirrord",
	"CFBundlePackageType":           "APPL",
	"CFBundleShortVersionString":    `\d+\.\d+\.\d+`,
	"CFBundleVersion":               `\d+(\.\d+)*`,
	"LSApplicationCategoryType":     `public\.app-category\.developer-tools`,
	"LSMinimumSystemVersion":        `12\.0`, // Go's
	"NSHighResolutionCapable":       "true",
	// Without it macOS 15 and later refuse connections to the local network, with "No route to host" and no question.
	"NSLocalNetworkUsageDescription":       ".{20,}",
	"NSPrincipalClass":                     "NSApplication",
	"NSSupportsAutomaticGraphicsSwitching": "true",
}

func TestInfoPlist(t *testing.T) {
	f, err := os.Open("../Info.plist")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found, err := readPlist(f)
	if err != nil {
		t.Fatal(err)
	}
	for key, pattern := range bundle {
		if !regexp.MustCompile("^(" + pattern + ")$").MatchString(found[key]) {
			t.Errorf("%s is %q, not %s", key, found[key], pattern)
		}
	}
	for key := range found {
		if bundle[key] == "" {
			t.Errorf("%s is not expected", key)
		}
	}
}

// readPlist reads the strings and truths of a dictionary.
func readPlist(r io.Reader) (map[string]string, error) {
	found, key := map[string]string{}, ""
	for d := xml.NewDecoder(r); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		var text string
		switch start.Name.Local {
		case "key", "string":
			if err := d.DecodeElement(&text, &start); err != nil {
				return nil, err
			}
		case "true", "false":
			text = start.Name.Local
		default:
			continue
		}
		if text = strings.TrimSpace(text); start.Name.Local == "key" {
			if _, twice := found[text]; twice {
				return nil, errors.New(text + " is there twice")
			}
			key = text
		} else {
			found[key] = text
		}
	}
}
