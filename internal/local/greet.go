package local

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v3"
)

const (
	loopback     = "127.0.0.1"
	greetingPath = "/-lifeboat" // no bucket can have this name
	greetTimeout = 5 * time.Second
)

// connect returns a connection to the folder's server. The server has proven on this very connection that it knows the
// folder's secret: a port may belong to somebody else since the address was written.
func (v layout) connect(ctx context.Context) (net.Conn, address, error) {
	addr, err := v.readAddress()
	if err != nil {
		return nil, addr, err
	}
	if addr.Protocol != protocol {
		return nil, addr, fmt.Errorf("the last S3 server spoke protocol %d, not %d", addr.Protocol, protocol)
	}
	creds, err := v.readCredentials()
	if err != nil {
		return nil, addr, err
	}
	conn, err := addr.dial(ctx)
	if err != nil {
		return nil, addr, err
	}
	if err := greet(conn, creds); err != nil {
		return nil, addr, errors.Join(fmt.Errorf("greet %s: %w", addr.URL, err), conn.Close())
	}
	return conn, addr, nil
}

func (a address) dial(ctx context.Context) (net.Conn, error) {
	host, err := a.host()
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: dialTimeout}
	return d.DialContext(ctx, "tcp", host)
}

// greet asks the other side for a proof, and leaves the connection ready for the next request.
func greet(conn net.Conn, creds credentials) error {
	challenge := rand.Text()
	if err := conn.SetDeadline(time.Now().Add(greetTimeout)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(conn, "GET %s?challenge=%s HTTP/1.1\r\nHost: %s\r\n\r\n", greetingPath, challenge, loopback)
	if err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if err != nil {
		return err
	}
	if response.Close || r.Buffered() > 0 || !hmac.Equal(body, []byte(proof(creds, challenge))) {
		return fmt.Errorf("it is not the S3 server of this vault (status %d)", response.StatusCode)
	}
	return conn.SetDeadline(time.Time{})
}

func proof(creds credentials, challenge string) string {
	mac := hmac.New(sha256.New, []byte(creds.Secret))
	fmt.Fprintf(mac, "lifeboat S3 server, protocol %d\n%s", protocol, challenge)
	return hex.EncodeToString(mac.Sum(nil))
}

// answerGreeting is the server's side of greet.
func answerGreeting(creds credentials) fiber.Handler {
	return func(c fiber.Ctx) error { return c.SendString(proof(creds, c.Query("challenge"))) }
}
