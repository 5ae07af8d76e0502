package zipline

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"lifeboat/internal/failure"
)

// maxConfig bounds a configuration file; they are read into memory.
const maxConfig = 16 << 20

// configName returns a configuration file's path in the archive.
func configName(path string) string { return "config/" + filepath.Base(path) }

// checkConfigs finds what is wrong with the list of configuration files before anything is read.
func checkConfigs(paths []string) error {
	seen := map[string]string{}
	for _, path := range paths {
		name := configName(path)
		if base := filepath.Base(path); base == "." || base == ".." || base == string(filepath.Separator) || !archivable(name) {
			return failure.New(failure.Usage, "the configuration file %q can't stand in an archive under its name", path)
		}
		if other, twice := seen[name]; twice {
			return failure.New(failure.Usage, "the configuration files %s and %s have the same name", other, path).
				WithHint("rename one of them: an archive holds them side by side in config/")
		}
		seen[name] = path
	}
	return nil
}

// readConfig returns a configuration file's content and time. Its errors don't repeat the path.
func readConfig(path string) ([]byte, time.Time, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, time.Time{}, bare(err)
	case !info.Mode().IsRegular():
		return nil, time.Time{}, errors.New("it is no regular file")
	case info.Size() > maxConfig:
		return nil, time.Time{}, fmt.Errorf("it is larger than %d MiB", maxConfig>>20)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, time.Time{}, bare(err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxConfig))
	if err != nil {
		return nil, time.Time{}, bare(err)
	}
	return content, info.ModTime(), nil
}

func bare(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}
