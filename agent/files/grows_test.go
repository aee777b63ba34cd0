package files

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestGrows(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, tt := range []struct {
		name          string
		changed, born time.Duration // before now; born 0 is not known
		want          bool
	}{
		{"/srv/app.log", 1000 * time.Hour, 2000 * time.Hour, true},
		{"/srv/app.LOG", time.Hour, time.Hour, true},
		{"/srv/app.log.1", 1000 * time.Hour, 2000 * time.Hour, true},
		{"/srv/app.log-20240131", time.Hour, time.Hour, true},
		{"/srv/nohup.out", time.Hour, time.Hour, true},
		{"/srv/stderr.err", time.Hour, time.Hour, true},
		{"/srv/app.log.2.gz", time.Second, time.Hour, false},
		{"/srv/app.login", time.Hour, time.Hour, false},
		{"/srv/catalog", time.Hour, time.Hour, false},
		{"/var/log/syslog", time.Hour, 2000 * time.Hour, true},
		{"/app/node_modules/log/index.js", 1000 * time.Hour, 1000 * time.Hour, false},
		{"/srv/logs/app/today", time.Minute, time.Hour, true},
		{"/srv/catalogs/today", 2 * time.Minute, time.Hour, false},
		{"/srv/data", 10 * time.Second, time.Hour, true},
		{"/srv/data", 2 * time.Minute, time.Hour, false},
		{"/srv/new", 10 * time.Second, 10 * time.Second, false}, // made, and not touched since
		{"/srv/new", 10 * time.Second, 11 * time.Second, false},
		{"/srv/old", 10 * time.Second, 0, true},
		{"/srv/copied", 1000 * time.Hour, time.Second, false}, // with the times of the original
	} {
		mtime := now.Add(-tt.changed)
		st := &unix.Stat_t{Mtim: unix.NsecToTimespec(mtime.UnixNano())}
		born := int64(0)
		if tt.born != 0 {
			born = now.Add(-tt.born).UnixNano()
		}
		if got := grows(tt.name, st, born, now); got != tt.want {
			t.Errorf("%s, changed %v ago, born %v ago: %v", tt.name, tt.changed, tt.born, got)
		}
	}
}
