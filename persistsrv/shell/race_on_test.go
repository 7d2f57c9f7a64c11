//go:build race

package shell

// stride: under the race detector, which these tests of one goroutine give nothing to find,
// the sweeps over all calls take every so many. Without it they take each.
const stride = 7
