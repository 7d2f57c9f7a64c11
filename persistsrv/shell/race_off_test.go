//go:build !race

package shell

// stride of the sweeps over all calls: each.
const stride = 1
