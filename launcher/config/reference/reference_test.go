package reference

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"mirrord/launcher/config"
)

var update = flag.Bool("update", false, "write the files that are made from the table of keys")

// fresh compares a committed file with what it is made from.
func fresh(t *testing.T, name string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is stale, `go test ./launcher/config/reference -update` writes it (-want +got):\n%s", name, diff)
	}
}

func TestSchemaIsFresh(t *testing.T) { fresh(t, "schema.json", Schema()) }

func TestEveryKeyIsDescribed(t *testing.T) {
	keys := config.Keys()
	for _, k := range keys {
		if text := Describe(k.Path); text == "" || strings.HasSuffix(text, ".") || strings.Contains(text, "\n") {
			t.Errorf("docs.go: %s: %q", k.Path, text)
		}
		if k.Class != "ignored" && docs[k.Path] == "" {
			t.Errorf("docs.go does not describe %s", k.Path)
		}
	}
	for path := range docs {
		if !slices.ContainsFunc(keys, func(k config.Key) bool { return k.Path == path }) {
			t.Errorf("docs.go describes %s, which is no key", path)
		}
	}
}

// load reads a file of that text and nothing else.
func load(text string) (*config.Config, error) {
	c, _, err := config.Load(config.LoadOptions{File: "-", Stdin: strings.NewReader(text), LookupEnv: func(string) (string, bool) { return "", false }})
	return c, err
}

// compiled is the schema as an independent program understands it.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mirrord.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("mirrord.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchemaSaysWhatLoadAccepts(t *testing.T) {
	s := compiled(t)
	for content, valid := range map[string]bool{
		`{}`:                                    true,
		`{"$schema": "x", "target": "dir:pod"}`: true,
		`{"target": {"path": "dir:pod", "namespace": "shop"}}`: true,
		`{"target": 5}`:        false,
		`{"targt": "dir:pod"}`: false,
		`{"feature": {"env": false, "fs": "local", "network": {"incoming": "steal", "dns": true}}}`:        true,
		`{"feature": {"env": {"include": "A", "override": {"PORT": 8080, "X": null}}}}`:                    true,
		`{"feature": {"env": {"override": {"PORT": [1]}}}}`:                                                false,
		`{"feature": {"fs": true, "network": false, "hostname": false}}`:                                   true,
		`{"feature": {"fs": "lokal"}}`:                                                                     false,
		`{"feature": {"fs": {"mode": "read", "local": ["^/x"], "read_only": "y"}}}`:                        true,
		`{"feature": {"fs": {"mode": "reed"}}}`:                                                            false,
		`{"feature": {"network": {"incoming": {"mode": "steal", "ports": [80, 8080]}}}}`:                   true,
		`{"feature": {"network": {"incoming": {"ports": 80}}}}`:                                            true,
		`{"feature": {"network": {"incoming": {"ports": [0]}}}}`:                                           false,
		`{"feature": {"network": {"outgoing": {"filter": {"local": "10.0.0.0/8"}}}}}`:                      true,
		`{"feature": {"network": {"outgoing": {"filter": {"lokal": "10.0.0.0/8"}}}}}`:                      false,
		`{"feature": {"network": {"incoming": {"mode": "steal", "http_filter": {}}}}}`:                     true,
		`{"feature": {"network": {"incoming": {"mode": "steal", "http_filter": {"header_filter": "x"}}}}}`: false,
		`{"feature": {"copy_target": {"enabled": false}, "split_queues": {}}}`:                             true,
		`{"feature": {"copy_target": {"enabled": true}}}`:                                                  false,
		`{"telemetry": false, "agent": {"metrics": {"registry": "x", "tag": "y"}, "ttl": 30}}`:             true,
		`{"agent": {"imgae": "x"}}`:                                                                        false,
		`{"feature": []}`:                                                                                  false,
	} {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(value); (err == nil) != valid {
			t.Errorf("%s: by the schema: %v", content, err)
		}
		if _, err := load(content); (err == nil) != valid {
			t.Errorf("%s: by Load: %v", content, err)
		}
	}
}

// What Load gives back, and what uses every key, is valid by the schema too.
func TestSchemaOfEverything(t *testing.T) {
	s := compiled(t)
	everything, err := os.ReadFile("../testdata/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := load(string(everything))
	if err != nil {
		t.Fatal(err)
	}
	var anything any
	if err := yaml.Unmarshal(everything, &anything); err != nil {
		t.Fatal(err)
	}
	for what, value := range map[string]any{"the defaults": config.Default(), "what is loaded": loaded, "the file": anything} {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(decoded); err != nil {
			t.Errorf("%s: %s: %v", what, text, err)
		}
	}
}
