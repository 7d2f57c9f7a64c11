//go:build !invariants

package invariant

// Enabled says whether this build makes the expensive checks as well.
const Enabled = false
