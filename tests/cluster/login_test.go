package cluster

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// kubeconfigFile is the kubeconfig that the tests run with, in one file with nothing but the current context, edited by words of `kubectl config`.
func kubeconfigFile(t *testing.T, edits ...[]string) string {
	t.Helper()
	out, err := exec.Command("kubectl", "config", "view", "--raw", "--minify", "--flatten").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, "kubeconfig", string(out))
	for _, edit := range edits {
		if out, err := kubectl(append([]string{"--kubeconfig", path, "config"}, edit...)...); err != nil {
			t.Fatal(err, out)
		}
	}
	return path
}

// configFor is a configuration that names a kubeconfig.
func configFor(t *testing.T, path string) string {
	t.Helper()
	text, err := json.Marshal(map[string]string{"kubeconfig": path})
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "mirrord.json", string(text))
}

// kubeconfig is a configuration that names an edited kubeconfig.
func kubeconfig(t *testing.T, edits ...[]string) string {
	t.Helper()
	return configFor(t, kubeconfigFile(t, edits...))
}

// tokenOf is a service account's token.
func tokenOf(t *testing.T, account string) string {
	t.Helper()
	return strings.TrimSpace(ask(t, "create", "token", account))
}

// login is the edits that log in another way than the kubeconfig does.
func login(how ...string) [][]string {
	return [][]string{append([]string{"set-credentials", "tester"}, how...), {"set-context", "--current", "--user", "tester"}}
}

// asUser is a configuration whose kubeconfig logs in with a token.
func asUser(t *testing.T, token string) string {
	t.Helper()
	return kubeconfig(t, login("--token", token)...)
}

// view is a field of the kubeconfig that the tests run with, as a JSONPath of its one cluster or user.
func view(t *testing.T, field string) string {
	t.Helper()
	out, err := exec.Command("kubectl", "config", "view", "--raw", "--minify", "--flatten", "-o", "jsonpath={"+field+"}").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// elsewhere is a configuration whose kubeconfig leads nowhere.
func elsewhere(t *testing.T) string {
	t.Helper()
	return kubeconfig(t, []string{"set-cluster", view(t, ".clusters[0].name"), "--server", "https://127.0.0.1:1"})
}

// plugin is a kubeconfig's edits for a login plugin: a script.
func plugin(t *testing.T, script string) [][]string {
	t.Helper()
	path := write(t, "plugin", "#!/bin/sh\n"+script+"\n")
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return login("--exec-command", path, "--exec-api-version", "client.authentication.k8s.io/v1", "--exec-interactive-mode", "Never")
}

// credential is what a login plugin prints.
func credential(token string) string {
	return fmt.Sprintf(`echo '{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {"token": %q}}'`, token)
}

// Ways to log in, each by a session with what the README says that a user needs, and no more.
func TestLogin(t *testing.T) {
	needCluster(t)
	developer := tokenOf(t, "developer")
	works := func(name, config string, env ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		args := []string{"exec", "-n", namespace, "-t", "deployment/web"}
		if config != "" {
			args = append(args, "-f", config)
		}
		cmd := command(ctx, t, append(args, "--", "sh", "-c", "printenv GREETING; cat /srv/config/colour.txt; hostname")...)
		cmd.Env = append(cmd.Env, env...)
		if r := finish(t, cmd); r.status != 0 || !strings.HasPrefix(r.out, "hello\nblue\nweb-") {
			t.Errorf("%s: status %d, %q\n%s", name, r.status, r.out, r.err)
		}
	}
	works("a token", asUser(t, developer))
	works("a plugin", kubeconfig(t, plugin(t, credential(developer))...))

	// Several files are one: neither of these would do.
	out, err := exec.Command("kubectl", "--kubeconfig", kubeconfigFile(t, login("--token", developer)...), "config", "view", "--raw", "-o", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	part := func(keys ...string) string {
		var all map[string]any
		if err := json.Unmarshal(out, &all); err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(all, func(key string, _ any) bool { return !slices.Contains(keys, key) })
		text, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return write(t, "kubeconfig", string(text))
	}
	works("several files", "", "KUBECONFIG="+strings.Join([]string{
		part("kind", "apiVersion", "contexts", "current-context"), filepath.Join(t.TempDir(), "missing"), part("kind", "apiVersion", "clusters", "users"),
	}, ":"))
}

// In a pod there is no kubeconfig: the API server's address and a token are where Kubernetes puts them.
func TestInCluster(t *testing.T) {
	needCluster(t)
	need(t, "unshare")
	if os.Geteuid() != 0 {
		t.Skip("needs root, to put a service account's files where they are in a pod")
	}
	server := strings.Fields(ask(t, "get", "endpointslices", "-l", "kubernetes.io/service-name=kubernetes", "-n", "default", "-o", "jsonpath={.items[0].endpoints[0].addresses[0]} {.items[0].ports[0].port}"))
	folder := t.TempDir()
	for name, content := range map[string]string{"token": tokenOf(t, "developer"), "namespace": namespace, "ca.crt": ask(t, "get", "configmap", "kube-root-ca.crt", "-o", `jsonpath={.data.ca\.crt}`)} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const inside = `mount -t tmpfs none "$(readlink -f /var/run)" && mkdir -p /var/run/secrets/kubernetes.io && ln -s "$1" /var/run/secrets/kubernetes.io/serviceaccount && shift && exec "$@"`
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "sh", "-c", inside, "sh", folder, program, "exec", "-t", "deployment/web", "--", "printenv", "GREETING")
	cmd.Dir, cmd.WaitDelay = t.TempDir(), 10*time.Second
	cmd.Env = append(os.Environ(), "KUBECONFIG=", "HOME="+t.TempDir(), "KUBERNETES_SERVICE_HOST="+server[0], "KUBERNETES_SERVICE_PORT="+server[1])
	if r := finish(t, cmd); r.status != 0 || r.out != "hello\n" {
		t.Errorf("status %d, %q\n%s", r.status, r.out, r.err)
	}
}

func certificateOf(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

// Logins that fail are told in words: what failed, and what to do.
func TestLoginFails(t *testing.T) {
	needCluster(t)
	other := httptest.NewTLSServer(http.NotFoundHandler())
	defer other.Close()
	authority := write(t, "ca.crt", certificateOf(other))
	cluster := view(t, ".clusters[0].name")
	for _, c := range []struct {
		name   string
		config string
		want   []string
	}{
		{"a plugin that fails", kubeconfig(t, plugin(t, "echo 'the login is over' >&2; exit 7")...),
			[]string{"the login is over", "failed with exit code 7", "hint: the login plugin of your kubeconfig failed: log in again"}},
		{"a plugin that is not there", kubeconfig(t, login("--exec-command", "no-such-plugin", "--exec-api-version", "client.authentication.k8s.io/v1", "--exec-interactive-mode", "Never")...),
			[]string{"no-such-plugin", "not found", "hint: the login plugin of your kubeconfig"}},
		{"a plugin that says nothing", kubeconfig(t, plugin(t, "true")...), []string{"getting credentials", "hint: the login plugin of your kubeconfig failed"}},
		{"a plugin with an old token", kubeconfig(t, plugin(t, credential("expired"))...), []string{"Unauthorized", "hint: your login has expired"}},
		{"another cluster's authority", kubeconfig(t, []string{"set-cluster", cluster, "--certificate-authority", authority, "--embed-certs"}),
			[]string{"certificate signed by unknown authority", "hint: the cluster's certificate is not signed by what the kubeconfig names"}},
		{"another cluster's name", kubeconfig(t, []string{"set-cluster", cluster, "--tls-server-name", "elsewhere.example"}), []string{"elsewhere.example", "hint: the cluster's certificate is for other names"}},
		{"another cluster's context", kubeconfig(t, []string{"set-cluster", cluster, "--server", other.URL, "--certificate-authority", authority, "--embed-certs"}),
			[]string{"error: cannot read pod/two: ", "hint: what answers at " + other.URL + " is no API server of Kubernetes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := mirrord(t, "exec", "-n", namespace, "-t", "pod/two", "-f", c.config, "--", "true")
			if r.status != 125 || r.out != "" {
				t.Errorf("status %d, %q", r.status, r.out)
			}
			for _, want := range c.want {
				if !strings.Contains(r.err, want) {
					t.Errorf("%s\nwant %s", r.err, want)
				}
			}
		})
	}
}
