// Command cmd writes the generated files of package ec2 into the current folder; go generate runs it there.
package main

import (
	"log"
	"os"

	"sallyport.dev/sallyport/internal/ec2/gen"
)

// fileMode is that of any source file.
const fileMode = 0o644

func main() {
	log.SetFlags(0)
	files, err := gen.Generate(gen.Committed())
	if err != nil {
		log.Fatalf("generating package ec2: %v", err)
	}
	for name, data := range files {
		if err := os.WriteFile(name, data, fileMode); err != nil {
			log.Fatalf("writing the generated files: %v", err)
		}
	}
}
