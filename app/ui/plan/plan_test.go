package plan

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"
	"github.com/google/go-cmp/cmp"

	"mirrord/app/cli"
	"mirrord/app/launches"
	"mirrord/app/look"
	"mirrord/app/look/looktest"
	"mirrord/app/proposals"
)

// fake is a command line that knows one cluster.
type fake struct {
	contexts []cli.Context
	names    cli.Namespaces
	targets  cli.Targets
	findings []cli.Finding
	chain    cli.Explanation
	err      error
}

func (f *fake) Contexts(context.Context) ([]cli.Context, error) { return f.contexts, nil }
func (f *fake) Namespaces(context.Context, string) (cli.Namespaces, error) {
	return f.names, f.err
}
func (f *fake) Targets(_ context.Context, _, namespace string) (cli.Targets, error) {
	f.targets.Namespace = namespace
	return f.targets, f.err
}
func (f *fake) Doctor(context.Context, bool) ([]cli.Finding, error) { return f.findings, nil }
func (f *fake) Explain(context.Context, string, []string) (cli.Explanation, error) {
	return f.chain, nil
}

func staging() *fake {
	return &fake{
		contexts: []cli.Context{{Name: "kind-dev", Cluster: "kind-dev"}, {Name: "production", Cluster: "eu-west-1.prod"}, {Name: "staging", Cluster: "eu-west-1.staging", Current: true}},
		names:    cli.Namespaces{Current: "shop", Names: []string{"billing", "default", "monitoring", "search", "shop"}},
		targets: cli.Targets{Targets: []cli.Target{
			{Target: "deployment/cart", Containers: []string{"web", "metrics"}, Ports: []int{8080}, Ready: 3, Pods: 3},
			{Target: "deployment/checkout", Containers: []string{"web"}, Ports: []int{8080, 9090}, Ready: 1, Pods: 2},
			{Target: "deployment/inventory", Containers: []string{"web"}, Ports: []int{8080}, Ready: 2, Pods: 2},
			{Target: "statefulset/postgres", Containers: []string{"postgres"}, Ports: []int{5432}, Ready: 0, Pods: 1},
			{Target: "service/cart", Containers: []string{"web"}, Ports: []int{80}, Ready: 3, Pods: 3},
		}, Hidden: []string{"cronjobs"}},
		findings: []cli.Finding{
			{Area: "cluster", Name: "Login", State: "wrong", Message: "the login of staging has expired", Hint: "run `gcloud auth login`"},
			{Area: "programs", Name: "supervision", State: "warning", Message: "Go programs and static ones run outside: this kernel has no seccomp notifications", Hint: "use a kernel from 5.14 on"},
			{Area: "files", Name: "Cache", State: "ok"}, {Area: "layer", Name: "Layer", State: "ok"}, {Area: "programs", Name: "node", State: "ok"},
		},
		chain: cli.Explanation{Verdict: "inject", Hops: []cli.Hop{
			{Path: "/usr/local/bin/npm", Real: "/usr/local/lib/node_modules/npm/bin/npm-cli.js", Verdict: "resolve", Reason: "a script for /usr/bin/env"},
			{Path: "/usr/bin/env", Verdict: "copy", Slice: "arm64", Reason: "the system guards it, so a copy that takes the library runs in its place"},
			{Path: "/opt/homebrew/bin/node", Verdict: "inject", Reason: "takes the library as it is"},
		}},
	}
}

func options(f *fake) Options {
	return Options{
		Launch: launches.Launch{ID: "shop", Name: "shop", Folder: "/home/me/src/shop", Command: []string{"npm", "run", "dev"},
			Target: launches.Target{Context: "staging", Namespace: "shop", Path: "deployment/cart"}, Shared: launches.Default()},
		Tool:   f,
		Recent: []launches.Target{{Path: "deployment/cart"}, {Path: "dir:/home/me/pods/cart"}, {Path: "deployment/inventory"}},
		Read: func(folder string) (proposals.Folder, error) {
			return proposals.Folder{Path: folder, Name: "shop", Proposals: []proposals.Proposal{
				{Name: "npm run dev", Command: []string{"npm", "run", "dev"}, Source: "package.json", Detail: "node --watch server.js"},
				{Name: "npm start", Command: []string{"npm", "start"}, Source: "package.json", Detail: "node server.js"},
				{Name: "npm test", Command: []string{"npm", "test"}, Source: "package.json", Detail: "node --test"},
				{Name: "make serve", Command: []string{"make", "serve"}, Source: "Makefile"},
				{Name: "web", Command: []string{"node", "server.js"}, Source: "Procfile", Detail: "node server.js"},
			}}, nil
		},
		Async:  func(work func(context.Context), done func()) { work(context.Background()); done() },
		Choose: func(chosen func(string)) { chosen("/home/me/pods/cart") },
		Copy:   func(string) {}, AsText: func(launches.Launch) string { return "mirrord exec" },
		Save: func(launches.Launch) {}, Run: func(launches.Launch) {}, Close: func() {},
	}
}

func show(o Options, step int) func() fyne.CanvasObject {
	return func() fyne.CanvasObject {
		v := New(o)
		v.Show(step)
		return v.Content
	}
}

func TestPictures(t *testing.T) {
	for i, step := range steps {
		t.Run(step, func(t *testing.T) {
			o := options(staging())
			if i == Shared {
				o.Launch.Shared[launches.TrafficIn] = launches.Full
			}
			looktest.Pictures(t, "launch-"+strings.ToLower(step), fyne.NewSize(900, 640), show(o, i))
		})
	}
	t.Run("expired", func(t *testing.T) {
		f := staging()
		f.err = &cli.Error{Message: "the login of staging has expired", Hint: "log in anew in a terminal: gcloud auth login"}
		looktest.Pictures(t, "launch-target-expired", fyne.NewSize(900, 640), show(options(f), Target))
	})
}

func TestNothingIsCutOff(t *testing.T) {
	f, long := staging(), strings.Repeat("very-long-", 25)
	f.err = nil
	for i := range f.contexts {
		f.contexts[i].Name, f.contexts[i].Cluster = fmt.Sprint(i, long), long
	}
	for i := range f.names.Names {
		f.names.Names[i] = fmt.Sprint(i, long)
	}
	for i := range f.targets.Targets {
		f.targets.Targets[i] = cli.Target{Target: fmt.Sprint("deployment/", i, long), Containers: []string{long, long + "b"}, Ports: []int{65535, 65534, 65533, 65532, 65531, 65530}, Ready: 99999, Pods: 99999}
	}
	f.targets.Hidden = []string{long, long}
	for i := range f.findings {
		f.findings[i].Name, f.findings[i].Message, f.findings[i].Hint = long, strings.Repeat("what is wrong ", 30), strings.Repeat("`what` to do ", 30)
	}
	for i := range f.chain.Hops {
		f.chain.Hops[i] = cli.Hop{Path: "/" + long + "/" + long, Real: "/" + long, Verdict: "outside", Reason: strings.Repeat("a reason that is long ", 30), Notes: []string{long, long}}
	}
	f.chain.Error, f.chain.Hint = long+long, long
	for i, step := range steps {
		for _, broken := range []bool{false, true} {
			t.Run(fmt.Sprint(step, broken), func(t *testing.T) {
				looktest.Walk(t, func() fyne.CanvasObject {
					o := options(f)
					o.Launch.Name, o.Launch.Folder, o.Launch.Command = long, "/"+long+long, []string{long, long}
					o.Launch.Target = launches.Target{Context: long, Namespace: long, Path: "deployment/" + long}
					o.Recent = []launches.Target{{Path: long}, {Path: long}, {Path: long}, {Path: long}}
					o.Read = func(string) (proposals.Folder, error) {
						one := proposals.Proposal{Name: long, Command: []string{long}, Source: "package.json", Detail: long}
						return proposals.Folder{Name: long, Proposals: []proposals.Proposal{one, one, one}, Problems: []proposals.Problem{{File: long, Error: long}}}, nil
					}
					if f.err = nil; broken {
						f.err = &cli.Error{Message: long, Hint: strings.Repeat("do this ", 40)}
					}
					v := New(o)
					v.Show(i)
					if broken {
						v.say(long, long)
					}
					return v.Content
				})
			})
		}
	}
}

func TestTypingFindsATarget(t *testing.T) {
	looktest.App(t, look.Light)
	o := options(staging())
	o.Launch.Target = launches.Target{}
	v := New(o)
	w := looktest.Show(t, v.Content, fyne.NewSize(900, 600))
	v.Show(Target)
	w.Canvas().Focus(v.target.find)
	test.Type(v.target.find, "invent")
	if got := len(v.target.columns[2].shown); got != 1 {
		t.Fatalf("%d workloads are shown", got)
	}
	v.target.find.TypedKey(&fyne.KeyEvent{Name: fyne.KeyReturn})
	if diff := cmp.Diff(launches.Target{Context: "staging", Namespace: "shop", Path: "deployment/inventory"}, v.Launch().Target); diff != "" {
		t.Error(diff)
	}
}

// From the command by Enter alone: to the search, from there on, and not past a target that was not found.
func TestEnterGoesThroughTheSteps(t *testing.T) {
	looktest.App(t, look.Light)
	f := staging()
	f.targets.Targets = f.targets.Targets[:1]
	v := New(options(f))
	w := looktest.Show(t, v.Content, fyne.NewSize(900, 600))
	enter := func() { w.Canvas().Focused().TypedKey(&fyne.KeyEvent{Name: fyne.KeyReturn}) }
	for w.Canvas().Focused() == nil || fmt.Sprintf("%T", w.Canvas().Focused()) != "*look.Input" {
		w.Canvas().FocusNext()
	}
	enter()
	if v.steps.Chosen != Target || w.Canvas().Focused() != fyne.Focusable(v.target.find) {
		t.Fatalf("step %d, %T has the keyboard", v.steps.Chosen, w.Canvas().Focused())
	}
	test.Type(v.target.find, "nothing has this")
	if enter(); v.steps.Chosen != Target {
		t.Fatal("it went on with a target that is not what was typed")
	}
	v.target.find.SetText("")
	v.launch.Target = launches.Target{}
	test.Type(v.target.find, "cart") // the only one
	if enter(); v.launch.Target.Path != "deployment/cart" || v.steps.Chosen != Target {
		t.Fatalf("%+v, step %d", v.launch.Target, v.steps.Chosen)
	}
	if enter(); v.steps.Chosen != Shared || w.Canvas().Focused() != nil {
		t.Errorf("step %d, %T has the keyboard", v.steps.Chosen, w.Canvas().Focused())
	}
}

func TestTypingThePathOfAPodDirectory(t *testing.T) {
	looktest.App(t, look.Light)
	v := New(options(staging()))
	looktest.Show(t, v.Content, fyne.NewSize(900, 600))
	v.Show(Target)
	test.Type(v.target.find, "/home/me/pods/cart/")
	v.target.find.TypedKey(&fyne.KeyEvent{Name: fyne.KeyReturn})
	if diff := cmp.Diff(launches.Target{Path: "dir:/home/me/pods/cart"}, v.Launch().Target); diff != "" {
		t.Error(diff)
	}
}

func TestMissingIsSaidWhereItIs(t *testing.T) {
	looktest.App(t, look.Light)
	ran := 0
	o := options(staging())
	o.Launch, o.Run = launches.Launch{Shared: launches.Default()}, func(launches.Launch) { ran++ }
	v := New(o)
	v.Show(Shared)
	if v.Run(); v.steps.Chosen != Program || !v.fault.Visible() {
		t.Error("without a folder")
	}
	v.launch.Folder, v.launch.Command = "/", []string{"env"}
	if v.Run(); v.steps.Chosen != Target || !v.fault.Visible() || ran != 0 {
		t.Error("without a target")
	}
	v.target.from(item{key: directory})
	if v.Run(); ran != 1 || v.fault.Visible() || v.launch.Target.Path != "dir:/home/me/pods/cart" {
		t.Errorf("%d runs of %+v", ran, v.launch)
	}
}

func TestLateAnswersAreDropped(t *testing.T) {
	looktest.App(t, look.Light)
	var late []func()
	o := options(staging())
	v := New(o)
	v.Show(Target)
	v.o.Async = func(work func(context.Context), done func()) {
		late = append(late, func() { work(context.Background()); done() })
	}
	v.target.cluster("kind-dev", "")
	v.target.in("billing")
	late[1]()
	before := len(v.target.columns[2].all)
	late[0]()
	if v.target.namespace != "billing" || len(v.target.columns[2].all) != before {
		t.Error("an answer to an old question was shown")
	}
}
