package access

import "sync"

// Attendance counts who is in, over all event loops: the connections of each vhost and each user, and
// the channels of each user. It holds them to the limits that are defined; who is in already stays
// when a limit becomes lower.
type Attendance struct {
	mu     sync.Mutex
	vhosts map[string]int64 // connections
	users  map[string]present
}

// present is what a user has.
type present struct{ connections, channels int64 }

// The limits, as they are defined.
const (
	maxConnections = "max-connections" // of a vhost, or a user
	maxChannels    = "max-channels"    // of a user
)

// NewAttendance makes one of nobody.
func NewAttendance() *Attendance {
	return &Attendance{vhosts: map[string]int64{}, users: map[string]present{}}
}

// Full says which limit has been reached.
type Full struct {
	OfUser bool // else it is the vhost's
	Limit  int64
}

// Enter counts a connection of a user to a vhost, unless a limit has been reached.
func (a *Attendance) Enter(t *Table, user, vhost string) *Full {
	a.mu.Lock()
	defer a.mu.Unlock()
	if limit := t.VHostLimit(vhost, maxConnections); limit >= 0 && a.vhosts[vhost] >= limit {
		return &Full{Limit: limit}
	}
	if limit := t.userLimit(user, maxConnections); limit >= 0 && a.users[user].connections >= limit {
		return &Full{OfUser: true, Limit: limit}
	}
	a.change(user, vhost, 1, 0)
	return nil
}

// Return counts a connection that was let in before connsrv's program was replaced, with its channels.
func (a *Attendance) Return(user, vhost string, channels int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.change(user, vhost, 1, int64(channels))
}

// Leave takes a connection out of account, with the channels that it has.
func (a *Attendance) Leave(user, vhost string, channels int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.change(user, vhost, -1, -int64(channels))
}

// OpenChannel counts a channel of a user, unless its limit has been reached.
func (a *Attendance) OpenChannel(t *Table, user string) *Full {
	a.mu.Lock()
	defer a.mu.Unlock()
	if limit := t.userLimit(user, maxChannels); limit >= 0 && a.users[user].channels >= limit {
		return &Full{OfUser: true, Limit: limit}
	}
	u := a.users[user]
	u.channels++
	a.users[user] = u
	return nil
}

// CloseChannel takes a channel of a user out of account. REQUIRES: the user has a connection.
func (a *Attendance) CloseChannel(user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.users[user]
	u.channels--
	a.users[user] = u
}

// change adds to what is counted, and forgets who has nothing any more.
func (a *Attendance) change(user, vhost string, connections, channels int64) {
	u := a.users[user]
	u.connections += connections
	u.channels += channels
	if a.users[user] = u; u == (present{}) {
		delete(a.users, user)
	}
	if a.vhosts[vhost] += connections; a.vhosts[vhost] == 0 {
		delete(a.vhosts, vhost)
	}
}

// userLimit is a limit of a user; below 0: none.
func (t *Table) userLimit(user, key string) int64 {
	if u := t.users[user]; u != nil {
		return u.Limit(key)
	}
	return -1
}
