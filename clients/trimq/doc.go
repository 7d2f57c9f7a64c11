// Package trimq is the Go client of TriMQ.
package trimq
