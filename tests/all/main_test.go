package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSummarise(t *testing.T) {
	const in = `{"Action":"start","Package":"mirrord/a"}
{"Action":"output","Package":"mirrord/a","Test":"TestGood","Output":"noise\n"}
{"Action":"pass","Package":"mirrord/a","Test":"TestGood"}
{"Action":"output","Package":"mirrord/a","Test":"TestMac","Output":"=== RUN   TestMac\n"}
{"Action":"output","Package":"mirrord/a","Test":"TestMac","Output":"    a_test.go:7: needs: a Mac\n"}
{"Action":"output","Package":"mirrord/a","Test":"TestMac","Output":"--- SKIP: TestMac (0.00s)\n"}
{"Action":"skip","Package":"mirrord/a","Test":"TestMac"}
{"Action":"output","Package":"mirrord/a","Output":"ok  \tmirrord/a\n"}
{"Action":"pass","Package":"mirrord/a","Elapsed":1.5}
{"ImportPath":"mirrord/b","Action":"build-output","Output":"b.go:1: broken\n"}
{"ImportPath":"mirrord/b","Action":"build-fail"}
{"Action":"output","Package":"mirrord/c","Test":"TestBad","Output":"    c_test.go:3: no\n"}
{"Action":"fail","Package":"mirrord/c","Test":"TestBad","Elapsed":0.2}
{"Action":"skip","Package":"mirrord/d"}
`
	const want = `ok    a (1.5 s)
FAIL  b (0.0 s)
b.go:1: broken
FAIL  c TestBad (0.2 s)
    c_test.go:3: no

left out here:
  a TestMac: needs: a Mac
`
	var out strings.Builder
	summarise(strings.NewReader(in), &out)
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
