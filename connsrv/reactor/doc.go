// Package reactor moves bytes between sockets and rooms: edge-triggered epoll loops, each
// with its own connections, without a goroutine per connection.
//
// Callers: connsrv/server makes a Group and gives every loop its Service.
//
// Invariants:
//
//  1. A connection belongs to one loop for its life, chosen by murmur3 of the peer's address.
//     Nothing in it is shared; other goroutines reach a loop through Call only.
//  2. A connection without bytes under way holds no buffer.
//  3. Bytes of a large body are read into memory that its room names (shared memory), and
//     only once all of them are at hand: partly read, the rest in the socket.
//  4. What waits to be sent to one connection is bounded: beyond the limit its requests are
//     not read, and a peer that takes nothing is closed after a time.
//  5. Every edge is remembered until a system call has said EAGAIN, or read less than asked.
//  6. All that a connection is goes over in a hand-over (pass.go), and nothing is half done between two turns.
//  7. Memory for an input is bounded by the bytes that came, not by what they claim.
//
// Goroutines: one for each loop, started and awaited by Group.Run. If the process dies here
// the kernel closes its sockets; there is nothing to repair.
package reactor
