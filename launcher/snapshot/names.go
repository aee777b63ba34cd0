package snapshot

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"mirrord/agent/wire"
)

// readNames looks up the names that the pod's own files and variables have, and those that a session has used.
func (s *shot) readNames(ctx context.Context) (string, error) {
	search, own := s.resolverFiles()
	own = append(own, s.Link.Agent().Hostname)
	wanted := make(map[string]bool) // name → it was used
	for _, name := range own {
		wanted[name] = false
	}
	for variable := range s.env { // a service's name has lost its hyphens here; what is guessed wrong is not found
		if service, ok := strings.CutSuffix(variable, "_SERVICE_HOST"); ok {
			wanted[strings.ToLower(strings.ReplaceAll(service, "_", "-"))] = false
		}
	}
	if s.Used != nil {
		for _, name := range s.Used.Names {
			wanted[name] = true
		}
	}
	names := slices.Sorted(maps.Keys(wanted))
	if len(names) > maxNames {
		s.leave("names", fmt.Sprintf("%d of %d are too many", len(names)-maxNames, len(names)))
		names = names[:maxNames]
	}
	s.hosts = make(map[string][]string)
	var mu sync.Mutex // of hosts and the result
	err := parallelly(ctx, names, func(ctx context.Context, name string) error {
		record := func(query string) (found bool, err error) {
			addrs, errno, err := s.lookup(ctx, query)
			mu.Lock()
			defer mu.Unlock()
			if len(addrs) > 0 {
				s.hosts[strings.TrimSuffix(query, ".")] = addrs
			} else if errno != "" && query == name && wanted[name] {
				s.leave("the name "+name, "the pod's resolver says "+errno)
			}
			return len(addrs) > 0, err
		}
		found, err := record(name)
		if !found || err != nil || slices.Contains(own, name) || strings.HasSuffix(name, ".") {
			return err
		}
		// Programs that ask name servers by themselves ask for the names that a resolver makes of this one.
		for _, domain := range search {
			if _, err := record(name + "." + domain + "."); err != nil {
				return err
			}
		}
		return nil
	})
	s.result.Names = len(s.hosts)
	return counted(len(s.hosts), "name"), err
}

// lookup returns a name's addresses, none for one that means the machine that it is looked up on. errno is the resolver's answer instead.
func (s *shot) lookup(ctx context.Context, name string) (addrs []string, errno string, err error) {
	if _, err := netip.ParseAddr(name); err == nil || name == "" || strings.ContainsAny(name, " \t\n/:") || !isText(name) {
		return nil, "", nil
	}
	reply, err := s.Link.Do(ctx, &wire.Request{Op: wire.OpLookup, Name: name})
	var refused *wire.Error
	if errors.As(err, &refused) {
		return nil, refused.Errno, nil
	} else if err != nil {
		return nil, "", err
	}
	for _, a := range reply.Addrs {
		if !a.IsLoopback() {
			addrs = append(addrs, a.String())
		}
	}
	return addrs, "", nil
}

// resolverFiles reads the recorded resolv.conf and hosts: what the one has as search domains, and the names that the other has.
func (s *shot) resolverFiles() (search, names []string) {
	read := func(p string) [][]string {
		text, err := s.files.root.ReadFile(p)
		if err != nil {
			return nil
		}
		var lines [][]string
		for line := range strings.Lines(string(text)) {
			line, _, _ = strings.Cut(line, "#")
			if words := strings.Fields(line); len(words) > 1 {
				lines = append(lines, words)
			}
		}
		return lines
	}
	for _, words := range read("etc/resolv.conf") {
		if words[0] == "search" {
			search = words[1:]
		}
	}
	for _, words := range read("etc/hosts") {
		names = append(names, words[1:]...)
	}
	return search[:min(len(search), maxSearch)], names
}

// maxSearch is how many search domains are gone through, as in Kubernetes' validation of dnsConfig.
const maxSearch = 32

// parallelly calls do for each item, several at once. The first error ends it.
func parallelly[T any](ctx context.Context, items []T, do func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	jobs := make(chan T)
	var running sync.WaitGroup
	for range parallel {
		running.Go(func() {
			for item := range jobs {
				if ctx.Err() != nil {
					continue
				}
				if err := do(ctx, item); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, item := range items {
		jobs <- item
	}
	close(jobs)
	running.Wait()
	return context.Cause(ctx)
}
