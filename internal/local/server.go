// Package local is the S3 server of a vault on one machine.
//
// A vault folder has one server: versitygw over plain files, a child process of our own binary that listens on
// 127.0.0.1 only. The first process that attaches starts it, later ones use it, and whoever needs it next starts it
// again when its owner has ended. So presigned links, multipart uploads, checksums and conditional writes are the real
// thing without anything to install, and everything above this package speaks nothing but S3.
//
// What lies in the folder:
//
//	buckets/    the objects as plain files       versions/  older versions of objects
//	meta/       side-car metadata, only where the file system has no extended attributes
//	server/     credentials.json (random, once), address.json (last server), lock (held by the server), log
//
// Promises: at most one server per folder (a lock that the server holds while it lives); every connection is proven to
// lead to this folder's server before the first request goes over it; the server ends with the process that started it,
// however that ends. What was written survives a killed process; Sync makes it survive a power failure.
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

const (
	region = "us-east-1"

	attempts    = 3                // of attaching, when servers end under our hands
	dialTimeout = 3 * time.Second  // loopback: a connection takes no time or does not come
	idleTimeout = 90 * time.Second // of a kept connection
	// headerTimeout is generous: completing a large upload copies its bytes before the first byte of the answer.
	headerTimeout = time.Hour
)

// Server is the S3 server of one vault folder, as seen from this process. Its methods are safe for concurrent use.
type Server struct {
	vault  layout
	creds  credentials
	log    *slog.Logger
	client *http.Client

	mu      sync.Mutex // guards address and child; short
	address address    // of the last connection
	child   *child     // nil while another process owns the server

	reviving sync.Mutex // one revival at a time; guards closed
	closed   bool
}

// Attach returns the server of a vault folder: the one that runs, else a new child process of this one. It creates the
// folder (0700) when absent, and may be called by many processes at once. A server that is about to end is waited for.
// Errors: Conflict when a server of an incompatible version runs or one neither answers nor ends, Exhausted when the
// disk is full, Corrupt when the credentials cannot be read. A nil log discards.
func Attach(ctx context.Context, folder string, log *slog.Logger) (*Server, error) {
	vault, err := newLayout(folder)
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{vault: vault, log: log}
	s.client = s.newClient()
	conn, err := s.connect(ctx)
	for n := 0; err != nil && n < attempts; n++ {
		if err = s.launch(ctx); err != nil {
			break
		}
		conn, err = s.connect(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("attach to the vault %s: %w", folder, err), s.Close())
	}
	if s.creds, err = vault.readCredentials(); err != nil {
		return nil, errors.Join(err, conn.Close(), s.Close())
	}
	s.log.DebugContext(ctx, "attached to the vault's S3 server", "url", s.URL(), "started", s.Started())
	return s, conn.Close()
}

// URL returns the address of the server, http://127.0.0.1:PORT. It stays the same over restarts as long as nobody else
// takes the port.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.address.URL
}

// Credentials returns the key pair of the vault; it never changes.
func (s *Server) Credentials() (access string, key secret.String) {
	return s.creds.Access, secret.New(s.creds.Secret)
}

// Region returns the region that requests are signed for.
func (s *Server) Region() string { return region }

// Started reports whether the running server is a child of this process; it then ends with it.
func (s *Server) Started() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.child.running()
}

// HTTPClient returns the client to reach the server with. Each of its connections leads to the vault's server,
// whatever address a request names; where none runs any more, it starts one. It uses no proxy, follows no redirect,
// and has no overall timeout.
func (s *Server) HTTPClient() *http.Client { return s.client }

// Sync returns after everything that the server has acknowledged so far survives a power failure.
func (s *Server) Sync(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- syncFileSystem(string(s.vault)) }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("sync the vault %s: %w", s.vault, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sync the vault %s: %w", s.vault, ctx.Err())
	}
}

// Close stops the server if this process owns it, and waits for its end; requests under way get some seconds. The
// client is of no use afterwards. A second Close does nothing.
func (s *Server) Close() error {
	s.reviving.Lock()
	defer s.reviving.Unlock()
	s.closed = true
	s.client.CloseIdleConnections()
	s.mu.Lock()
	child := s.child
	s.child = nil
	s.mu.Unlock()
	return child.stop()
}

func (s *Server) newClient() *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:           s.dial,
			DisableCompression:    true,
			MaxIdleConns:          64,
			MaxIdleConnsPerHost:   64,
			MaxConnsPerHost:       128, // more wait here: the server refuses what is beyond maxRequests
			IdleConnTimeout:       idleTimeout,
			ResponseHeaderTimeout: headerTimeout,
			ExpectContinueTimeout: time.Second,
			ReadBufferSize:        64 << 10,
			WriteBufferSize:       64 << 10,
		},
	}
}

// dial connects to the vault's server, not to the address asked for: the server may have come back on another port.
func (s *Server) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := s.connect(ctx)
	if err == nil || ctx.Err() != nil {
		return conn, err
	}
	return s.revive(ctx)
}

func (s *Server) connect(ctx context.Context) (net.Conn, error) {
	conn, addr, err := s.vault.connect(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address = addr
	return conn, nil
}

// revive starts a server after the last one ended, unless somebody else has done so by now.
func (s *Server) revive(ctx context.Context) (net.Conn, error) {
	s.reviving.Lock()
	defer s.reviving.Unlock()
	if s.closed {
		return nil, fmt.Errorf("the vault %s: %w", s.vault, net.ErrClosed)
	}
	if conn, err := s.connect(ctx); err == nil {
		return conn, nil
	}
	if err := s.launch(ctx); err != nil {
		return nil, fmt.Errorf("restart the S3 server of the vault %s: %w", s.vault, err)
	}
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, failure.New(failure.Transient, "connect to the S3 server of the vault %s: %w", s.vault, err)
	}
	s.log.InfoContext(ctx, "the vault's S3 server had ended", "url", s.URL(), "restarted", s.Started())
	return conn, nil
}

// launch makes sure that a server runs and keeps the child when it is ours.
func (s *Server) launch(ctx context.Context) error {
	child, err := launch(ctx, s.vault)
	if err != nil {
		return err
	}
	s.mu.Lock()
	old := s.child
	s.child = child
	s.mu.Unlock()
	return old.stop()
}
