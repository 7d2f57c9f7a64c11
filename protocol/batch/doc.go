// Package batch reads and writes the record batch: the one form in which messages travel
// from a producer through the log to a consumer. It is Kafka's RecordBatch v2, byte for
// byte (format.go draws it; docs/formats/batch.md explains it).
//
// Callers: clients/trimq builds and reads batches; connsrv validates what comes in and
// gathers single messages into batches; persistsrv and protocol/commitlog patch and
// cross-check headers.
//
// Invariants:
//
//  1. The broker changes nothing but bytes 0–7 (base offset) and 12–15 (leader epoch),
//     which the CRC does not cover.
//  2. Validate never decompresses, so its cost is that of the CRC.
//  3. A decoder bounds every length before it allocates or slices. What a decompression
//     may yield is bounded by Reader.Limit, and by what the compressed bytes can hold.
//  4. What Reader hands out aliases the batch, or the Reader's own buffer where the batch
//     was compressed; Builder's results alias the Builder.
//  5. This package is the only one that imports codecs: gzip, snappy, lz4, zstd.
//
// Goroutines: none. A Builder or Reader belongs to one goroutine at a time; the pools of
// zstd coders behind them are shared and safe.
//
// If the process dies here, nothing is lost: the package holds no state outside its callers.
package batch
