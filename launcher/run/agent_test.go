package run

import (
	"fmt"
	"testing"

	"mirrord/launcher/config"
	"mirrord/launcher/config/traffic"
	"mirrord/launcher/events"
)

// What the configuration asks of an agent, for a session and for a snapshot, which looks at all of the pod.
func TestAgentOptions(t *testing.T) {
	yes := true
	for _, c := range []struct {
		name              string
		change            func(*config.Config)
		session, snapshot string // what it needs; whether the environment and incoming connections are wanted; whether it stays beside the target
	}{
		{"nothing said", func(*config.Config) {}, "[files] true true false", "[files] true false false"},
		{"steal", func(c *config.Config) { c.Feature.Network.Incoming.Mode = traffic.Steal }, "[files incoming] true true false", "[files] true false false"},
		{"mirror", func(c *config.Config) { c.Feature.Network.Incoming.Mode = traffic.Mirror }, "[files incoming] true true false", "[files] true false false"},
		{"no incoming connections", func(c *config.Config) { c.Feature.Network.Incoming.Mode = traffic.Off }, "[files] true false false", "[files] true false false"},
		{"files of this machine", func(c *config.Config) { c.Feature.FS.Mode = config.FSLocal }, "[] true true false", "[files] true false false"},
		{"variables of this machine", func(c *config.Config) { c.Feature.Env.Exclude = []string{"*"} }, "[files] false true false", "[files] true false false"},
		{"a container", func(c *config.Config) { c.Agent.Ephemeral = &yes }, "[files] true true true", "[files] true false true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := config.Default()
			c.change(conf)
			for of, want := range map[*config.Config]string{conf: c.session, reading(conf): c.snapshot} {
				o, err := agentOptions(&plan{Config: of})
				if got := fmt.Sprint(o.Needs, o.Env, o.Incoming, o.Beside); err != nil || got != want {
					t.Errorf("%s, %v, want %s", got, err, want)
				}
			}
		})
	}
}

func TestQuantities(t *testing.T) {
	p := &plan{Config: config.Default()}
	p.Config.Agent.Resources = config.Resources{Requests: map[string]string{"cpu": "10m"}, Limits: map[string]string{"memory": "64Mi"}}
	o, err := agentOptions(p)
	if got := o.Pod.Resources; err != nil || got.Requests.Cpu().MilliValue() != 10 || got.Limits.Memory().Value() != 64<<20 {
		t.Errorf("%v, %v", got, err)
	}
	p.Config.Agent.Resources.Limits["memory"] = "much"
	const want = "agent.resources has \"much\" for memory, which is no quantity\nhint: Kubernetes writes them as 100m, 64Mi or 2"
	if _, err := agentOptions(p); err == nil || err.Error() != want {
		t.Error(err)
	}
}

// Who steals a port is told of the probes that are to be answered now: those of this port, and of no other.
func TestProbesOfStolenPorts(t *testing.T) {
	for _, c := range []struct {
		in   traffic.Incoming
		want string
	}{
		{traffic.Incoming{Mode: traffic.Mirror}, "[]"},
		{traffic.Incoming{Mode: traffic.Steal}, "[the program has to answer the kubelet's probes of a stolen port: 8080 9000]"},
		{traffic.Incoming{Mode: traffic.Steal, IgnorePorts: []uint16{8080}}, "[the program has to answer the kubelet's probes of a stolen port: 9000]"},
		{traffic.Incoming{Mode: traffic.Steal, IgnorePorts: []uint16{8080, 9000}}, "[]"},
	} {
		said := []string{}
		warnOfProbes(c.in, []uint16{8080, 9000}, func(ev events.Event) { said = append(said, ev.Message) })
		if got := fmt.Sprint(said); got != c.want {
			t.Errorf("%+v: %s", c.in, got)
		}
	}
}
