package core

import "hash/crc64"

// digestTable is of the polynomial whose checksums are fastest where the CPU has no
// instruction for one; the digest is no protection, only a comparison.
var digestTable = crc64.MakeTable(crc64.ECMA)

// Digest is a fingerprint of the hard state: of its checkpoint, in which equal states are
// equal bytes. A state that was loaded and replayed must have the digest of the one that
// lived. REQUIRES: as Checkpoint.
func (c *Core) Digest() uint64 { return crc64.Checksum(c.Checkpoint(nil), digestTable) }
