package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"golang.org/x/sys/unix"
)

// TestFullDisk fills a small file system: appends are refused by name before it is full,
// what is stored stays readable, and all is normal again once there is room.
func TestFullDisk(t *testing.T) {
	disk := mountTmpfs(t, "size=96m")
	b := started(t, map[string]string{
		"data_dir": fmt.Sprintf("%q", filepath.Join(disk, "data")), "ring_request_bytes": "\"4Mi\"", "max_frame_bytes": "\"256Ki\"",
		"disk_reserve_bytes": "\"24Mi\"", "segment_bytes": "\"4Mi\"", "retention_check_ms": "50", "page_flush_ms": "50",
	})
	c := dial(t, b)
	topicOf(t, c, "t", trimq.LevelDisk)
	send(t, c, "t", 0, 1000)
	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast, disk, 12<<20)
	eventually(t, "DiskFull", func() bool { return errors.Is(tryOne(t, c), trimq.ErrDiskFull) })
	expect(t, c, "t", 1000) // refused messages are not there, stored ones are
	if out, err := b.Run("topic", "list"); err != nil {
		t.Errorf("a read while the disk is full: %v\n%s", err, out)
	}
	if err := b.Kill("persistsrv"); err != nil { // a restart on the full disk
		t.Fatal(err)
	}
	if err := b.Kill("logicsrv"); err != nil {
		t.Fatal(err)
	}
	expect(t, c, "t", 1000)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	var n int
	eventually(t, "room again", func() bool {
		if tryOne(t, c) == nil {
			n++
		}
		return n > 0
	})
}

// tryOne sends one message without retry and returns what the broker says.
func tryOne(t *testing.T, c *trimq.Client) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	p, err := c.NewProducer(trimq.WithoutIdempotence())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(ctx)
	_, err = p.ProduceSync(ctx, &trimq.Message{Topic: "other", Value: value(0)})
	if errors.Is(err, trimq.ErrNotFound) {
		if _, err := c.CreateTopic(ctx, trimq.TopicSpec{Name: "other", Partitions: 1}); err != nil {
			return err
		}
		_, err = p.ProduceSync(ctx, &trimq.Message{Topic: "other", Value: value(0)})
	}
	return err
}

// fill writes a file until only leave bytes are free.
func fill(t *testing.T, path, disk string, leave uint64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for {
		var s unix.Statfs_t
		if err := unix.Statfs(disk, &s); err != nil {
			t.Fatal(err)
		}
		if s.Bavail*uint64(s.Bsize) <= leave {
			return
		}
		if _, err := f.Write(block); err != nil {
			t.Fatal(err)
		}
	}
}
