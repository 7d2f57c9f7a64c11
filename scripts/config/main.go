// Command config writes the documented configuration file, docs/trimq.toml, to its
// standard output; `make config` puts it in place.
package main

import (
	"log"
	"os"

	"github.com/trimq/trimq/shmqueue/tier"
)

func main() {
	if err := tier.Sample(os.Stdout); err != nil {
		log.Fatal(err)
	}
}
