package api

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// TokenFile is the name of the file, in the state-dir, that holds the token of the API.
const TokenFile = "api-token"

const (
	tokenBytes = 32
	minToken   = 2 * tokenBytes // characters
)

var tokenPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Token returns the token of the API, which lies in a folder of the owner's: the first call makes it, all others read
// it. A file that others may read is Denied, one that holds no token Corrupt; to have another token, delete the file.
func Token(folder string) (secret.String, error) {
	path := filepath.Join(folder, TokenFile)
	token, err := readToken(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, err
	}
	if err := makeToken(path); err != nil {
		return secret.String{}, fmt.Errorf("make the token of the API: %w", err)
	}
	return readToken(path) // somebody else's, who was faster
}

func readToken(path string) (secret.String, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return secret.String{}, fmt.Errorf("read the token of the API: %w", err)
	}
	switch {
	case !info.Mode().IsRegular() || info.Size() > 1024:
		return secret.String{}, failure.New(failure.Corrupt, "%s is no token of the API", path).WithHint("delete it: `lifeboat serve` makes another")
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return secret.String{}, failure.New(failure.Denied, "the token of the API in %s may be read by others", path).
			WithHint("delete it, since others may know it: `lifeboat serve` makes another")
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrPermission) {
		return secret.String{}, failure.New(failure.Denied, "the token of the API in %s may not be read", path).WithHint("run lifeboat as the user that owns it")
	}
	if err != nil {
		return secret.String{}, fmt.Errorf("read the token of the API: %w", err)
	}
	text := strings.TrimSpace(string(data))
	if !tokenPattern.MatchString(text) {
		return secret.String{}, failure.New(failure.Corrupt, "%s holds no token of the API", path).WithHint("delete it: `lifeboat serve` makes another")
	}
	return secret.New(text), nil
}

// makeToken makes the file appear as a whole, unless there is one.
func makeToken(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".token-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	token := make([]byte, tokenBytes)
	_, _ = rand.Read(token) // never fails (crypto/rand)
	_, err = temp.WriteString(hex.EncodeToString(token) + "\n")
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	err = os.Link(temp.Name(), path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return os.Rename(temp.Name(), path) // a file system without links
}
