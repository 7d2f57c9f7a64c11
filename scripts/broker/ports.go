package broker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
)

// Addresses are chosen below the ports that the system gives to outgoing connections (ip(7),
// ip_local_port_range): a daemon that was killed finds its port again when it is started, and no
// client's connection there.
const (
	lowestPort  = 10_000
	portsFrom   = 32_768 // where the system's begin if it does not say
	portAttempt = 1_000
)

// systemPorts is the first port that the system gives to outgoing connections.
func systemPorts() int {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	var from int
	if _, scanErr := fmt.Sscan(string(text), &from); err != nil || scanErr != nil {
		return portsFrom
	}
	return from
}

// freeAddresses returns loopback addresses on which nobody listened a moment ago.
func freeAddresses(n int) ([]string, error) {
	end := systemPorts()
	if end <= lowestPort {
		return nil, fmt.Errorf("the system gives ports from %d on to outgoing connections: none are left for listeners above %d (net.ipv4.ip_local_port_range)",
			end, lowestPort)
	}
	var list []string
	for range portAttempt {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowestPort+rand.IntN(end-lowestPort)))
		if err != nil {
			continue // somebody has it
		}
		defer l.Close()
		if list = append(list, l.Addr().String()); len(list) == n {
			return list, nil
		}
	}
	return nil, errors.New("no free ports found on 127.0.0.1")
}

// FreeAddress is a loopback address on which nobody listened a moment ago.
func FreeAddress() (string, error) {
	list, err := freeAddresses(1)
	if err != nil {
		return "", err
	}
	return list[0], nil
}
