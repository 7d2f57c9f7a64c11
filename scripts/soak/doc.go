// Command soak has a broker worked at for a long time, by tours of everything that clients do (scripts/tour),
// one after the other, while now and then a daemon is killed or stopped, and looks whether anything
// grows: the daemons' own memory, their open files, threads and goroutines, and the segments.
//
//	make soak                          an hour
//	make soak SOAK=10m
//	go run ./scripts/soak -time 10m -fault 30s -seed 3
//
// A quantity grows if its median in the last quarter of the time is above the one in the second, by more
// than a quarter and more than what it may vary by. Then, or if a tour was not as promised, the exit code is
// 1. The table at the end has both medians.
package main
