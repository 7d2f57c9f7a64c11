//go:build failpoints

package shmqueue

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/trimq/trimq/protocol/failpoint"
)

// With this variable a child stops at its n-th store, says so, and waits to be killed.
func init() {
	value := os.Getenv(parkVariable)
	if value == "" {
		return
	}
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil {
		panic(err)
	}
	var crossings atomic.Uint64
	failpoint.Handler = func(string) {
		if crossings.Add(1) == n {
			fmt.Println("parked")
			for {
				time.Sleep(time.Hour) // select {} would end the process: nobody could wake it
			}
		}
	}
}
