package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"

	"golang.org/x/sys/unix"
)

// Limits of what a client believes a server may say.
const (
	maxAnswer = 64 << 20 // thousands of virtual routers
	maxEvent  = 1 << 20
)

// Client asks one process. It keeps no connection.
type Client struct {
	path string
	http http.Client
}

// NewClient is for the process that listens on the socket at path.
func NewClient(path string) *Client {
	c := &Client{path: path}
	c.http.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}
	return c
}

// IsDead reports that an error of a Client means that no process listens there.
func IsDead(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
}

// Status is the process's present state.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var st Status
	err := c.call(ctx, http.MethodGet, "state", &st)
	return st, err
}

// IsMaster reports whether the machine serves, as this process sees it.
func (c *Client) IsMaster(ctx context.Context) (bool, error) {
	var a masterAnswer
	err := c.call(ctx, http.MethodGet, "is-master", &a)
	return a.Master, err
}

// Command has the process carry out v and waits for the outcome. The error is
// for a process that could not be asked or did not answer.
func (c *Client) Command(ctx context.Context, v Verb) (Result, error) {
	var r Result
	err := c.call(ctx, http.MethodPost, string(v), &r)
	return r, err
}

// Watch calls f with every event, a KindEnd or KindReplace included, until the process
// ends the watch (nil), f returns an error (that one), ctx ends, or the process dies
// (io.ErrUnexpectedEOF).
func (c *Client) Watch(ctx context.Context, f func(Event) error) error {
	resp, err := c.open(ctx, http.MethodGet, "watch")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("watch %s: %w", c.path, err)
		}
		if err := f(e); err != nil || e.Kind == KindEnd || e.Kind == KindReplace {
			return err
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("watch %s: %w", c.path, ctx.Err())
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("watch %s: %w", c.path, err)
	}
	return fmt.Errorf("watch %s: %w", c.path, io.ErrUnexpectedEOF)
}

func (c *Client) call(ctx context.Context, method, what string, into any) error {
	resp, err := c.open(ctx, method, what)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("ask %s: %w", c.path, err)
	}
	// Refusals are Results too, and say why.
	var refusal Result
	if resp.StatusCode != http.StatusOK {
		if json.Unmarshal(body, &refusal) != nil || refusal.Message == "" {
			return fmt.Errorf("ask %s: %s %s", c.path, resp.Status, bytes.TrimSpace(body))
		}
		if r, ok := into.(*Result); ok {
			*r = refusal
			return nil
		}
		return fmt.Errorf("ask %s: %s", c.path, refusal.Message)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("ask %s: %w", c.path, err)
	}
	return nil
}

func (c *Client) open(ctx context.Context, method, what string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://vrrpd/v1/"+what, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.path, err)
	}
	resp, err := c.http.Do(req)
	if err == nil {
		return resp, nil
	}
	if ue := (*url.Error)(nil); errors.As(err, &ue) {
		err = ue.Err
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("ask %s: %w: be root or a member of the socket's group", c.path, fs.ErrPermission)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("ask %s: no answer in time: %w", c.path, context.DeadlineExceeded)
	}
	return nil, fmt.Errorf("ask %s: %w", c.path, err)
}

// notSent says that an error of a Client means that the process has surely not
// received the request.
func notSent(err error) bool {
	op := (*net.OpError)(nil)
	return errors.Is(err, fs.ErrPermission) || errors.As(err, &op) && op.Op == "dial"
}
