package kafkaconn

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/admin"
)

// describeLogDirs tells how large partitions are: the bytes of their batches. All lie in one log, in one directory; a
// batch that is in several partitions counts for each of them.
func (c *Conn) describeLogDirs(k *call, m *kmsg.DescribeLogDirsRequest) {
	var names []string
	for i := range m.Topics {
		names = append(names, m.Topics[i].Topic)
	}
	if m.Topics != nil && len(names) == 0 {
		c.finish(k, c.logDirs(m, nil))
		return
	}
	c.describeTopics(k, names, func(list []admin.TopicInfo, err error) {
		resp := c.logDirs(m, list)
		if err != nil {
			resp.Dirs[0].ErrorCode, resp.Dirs[0].Topics = codeStorage, nil
		}
		c.finish(k, resp)
	})
}

// logDirs describes the directory with the partitions that were asked for, as far as they are there.
func (c *Conn) logDirs(m *kmsg.DescribeLogDirsRequest, list []admin.TopicInfo) *kmsg.DescribeLogDirsResponse {
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	dir := kmsg.NewDescribeLogDirsResponseDir()
	dir.Dir, dir.TotalBytes, dir.UsableBytes = c.settings.DataDir, -1, -1
	if total, usable, err := c.settings.Disk(); err == nil {
		dir.TotalBytes, dir.UsableBytes = total, usable
	}
	for i := range list {
		t := kmsg.NewDescribeLogDirsResponseDirTopic()
		t.Topic = list[i].Name
		asked := slices.IndexFunc(m.Topics, func(a kmsg.DescribeLogDirsRequestTopic) bool { return a.Topic == t.Topic })
		for number := range list[i].Partitions {
			if asked >= 0 && !slices.Contains(m.Topics[asked].Partitions, int32(number)) {
				continue
			}
			size, err := c.loop.Lane.BytesOf(list[i].Partitions[number].Index)
			if err != nil {
				dir.ErrorCode = codeStorage
			}
			p := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
			p.Partition, p.Size = int32(number), size
			t.Partitions = append(t.Partitions, p)
		}
		dir.Topics = append(dir.Topics, t)
	}
	resp.Dirs = append(resp.Dirs, dir)
	return resp
}
