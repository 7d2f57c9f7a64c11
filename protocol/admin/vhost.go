package admin

import "strings"

// A vhost is a space of names of its own. The vhost "/" is the broker as native and Kafka's clients see
// it; queues and exchanges of another one bear its name in front of theirs, with a character between that no
// client can have in a name. Front ends that know of vhosts put the prefix on and take it off.

const (
	// DefaultVHost is the vhost whose names have no prefix.
	DefaultVHost = "/"
	// VHostMark stands between the name of a vhost and that of a thing in it.
	VHostMark = "\x1f"
)

// InVHost is the whole name of a thing in a vhost.
func InVHost(vhost, name string) string {
	if vhost == DefaultVHost {
		return name
	}
	return vhost + VHostMark + name
}

// SplitVHost is the reverse of InVHost.
func SplitVHost(whole string) (vhost, name string) {
	if vhost, name, ok := strings.Cut(whole, VHostMark); ok {
		return vhost, name
	}
	return DefaultVHost, whole
}
