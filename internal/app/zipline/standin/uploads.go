package standin

import (
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"time"
)

// thumbnailSize is the size of each made-up thumbnail, in bytes.
const thumbnailSize = 6_800

// WriteUploads writes the instance's objects into a folder, which it makes where it is missing: a local datasource. The
// bytes and times are the same at each call; what lies there under the same names is written over.
func (i *Instance) WriteUploads(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("make the folder of the uploads: %w", err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return fmt.Errorf("open the folder of the uploads: %w", err)
	}
	defer root.Close()
	for n, f := range i.files {
		made := began.Add(time.Duration(100+n) * time.Hour)
		if err := write(root, f.name, f.size, 0, made); err != nil {
			return err
		}
		if !f.thumbnail {
			continue
		}
		if err := write(root, thumbnailName(n), thumbnailSize, 0, made); err != nil {
			return err
		}
	}
	return nil
}

// ChangeTwo writes two of the objects in folder anew: other bytes of the same size, so that the rows still match.
// Each call on one instance writes bytes of its own. It returns the names, in lexical order.
func (i *Instance) ChangeTwo(folder string) ([]string, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("open the folder of the uploads: %w", err)
	}
	defer root.Close()
	i.generation++
	changed := began.Add(2000*time.Hour + time.Duration(i.generation)*time.Hour)
	names := []string{}
	for _, f := range i.files {
		if f.name != "ZkP0aa.jpg" && f.name != "notes from monday.txt" {
			continue
		}
		if err := write(root, f.name, f.size, i.generation, changed); err != nil {
			return nil, err
		}
		names = append(names, f.name)
	}
	return names, nil
}

// write writes one object: pseudo-random bytes that depend on its name and generation only.
func write(root *os.Root, name string, size int64, generation int, modified time.Time) error {
	file, err := root.Create(name)
	if err != nil {
		return fmt.Errorf("write %q: %w", name, err)
	}
	seed := fnv.New64a()
	_, _ = seed.Write([]byte(name)) // never fails
	bytes := rand.NewPCG(seed.Sum64(), uint64(generation))
	_, err = io.CopyN(file, source{bytes}, size)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = root.Chtimes(name, modified, modified)
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", name, err)
	}
	return nil
}

// source turns numbers into bytes.
type source struct{ numbers *rand.PCG }

func (s source) Read(p []byte) (int, error) {
	for at := 0; at < len(p); at += 8 {
		word := s.numbers.Uint64()
		for k := at; k < min(at+8, len(p)); k++ {
			p[k] = byte(word)
			word >>= 8
		}
	}
	return len(p), nil
}
