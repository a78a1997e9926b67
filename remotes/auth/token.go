package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/internal/retry"
)

const (
	// tokenTimeout bounds one exchange with a token endpoint; containerd
	// gives up on a registry's answer after the same time.
	tokenTimeout = 30 * time.Second
	// maxToken bounds a token endpoint's answer; tokens are some KiB.
	maxToken = 1 << 20
	// defaultLifetime is what the token spec prescribes when expires_in is
	// absent.
	defaultLifetime = time.Minute
	// maxLifetime bounds what is believed of expires_in.
	maxLifetime = 24 * time.Hour
)

// tokenKey says what a token is for, and with which credential it was obtained.
type tokenKey struct {
	realm, service string
	repository     Repository
	scope          string // one or more, separated by spaces
	credential     Credential
}

// tokens fetches and caches the tokens of one registry, as the distribution
// spec's token authentication describes. Only successes are cached.
type tokens struct {
	client    *http.Client
	userAgent string
	metrics   *Metrics
	kept      flight.Group[tokenKey, string]
	getOnly   sync.Map // realms that answer GET and not POST
}

func (t *tokens) get(ctx context.Context, key tokenKey) (string, error) {
	return t.kept.Get(ctx, key, retry.MaxWait+2*tokenTimeout, func(ctx context.Context) (string, time.Duration, error) {
		token, lifetime, err := t.fetchWithRetry(ctx, key)
		// Renewed a tenth of its life before the end, at most half a minute.
		return token, lifetime - min(lifetime/10, 30*time.Second), err
	})
}

// forget drops a token that the registry has refused.
func (t *tokens) forget(token string) {
	t.kept.Forget(func(_ tokenKey, kept string) bool { return kept == token })
}

// fetchWithRetry fetches a token, and retries when the failure is retryable.
func (t *tokens) fetchWithRetry(ctx context.Context, key tokenKey) (string, time.Duration, error) {
	var tries retry.Tries
	for first := true; ; first = false {
		token, lifetime, err := t.fetchInTime(ctx, key, first)
		if err == nil {
			return token, lifetime, nil
		}
		if err = tries.Wait(ctx, err); err != nil {
			return "", 0, err
		}
	}
}

// fetchInTime fetches within the time limit of one exchange.
func (t *tokens) fetchInTime(ctx context.Context, key tokenKey, first bool) (string, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	token, lifetime, err := t.fetch(ctx, key, first)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = explain(key, fmt.Errorf("token endpoint %s did not answer in %v: %w", host(key.realm), tokenTimeout, context.DeadlineExceeded))
	}
	return token, lifetime, err
}

// fetch uses POST when there is a credential, and GET where POST brings no
// token. An identity token never goes into a GET.
func (t *tokens) fetch(ctx context.Context, key tokenKey, first bool) (string, time.Duration, error) {
	identity := key.credential.IdentityToken != ""
	_, getOnly := t.getOnly.Load(key.realm)
	if key.credential.Anonymous() || getOnly && !identity {
		token, lifetime, err := t.exchange(ctx, key, getRequest)
		return token, lifetime, explain(key, err)
	}
	token, lifetime, err := t.exchange(ctx, key, postRequest)
	if err == nil || identity || !mayBeGetOnly(err, first) {
		return token, lifetime, explain(key, err)
	}
	token, lifetime, getErr := t.exchange(ctx, key, getRequest)
	if getErr == nil {
		t.getOnly.Store(key.realm, true)
		return token, lifetime, nil
	}
	var status *statusError
	if !errors.As(getErr, &status) || !slices.Contains(noGET, status.code) {
		err = getErr // the endpoint's word about the credential
	}
	return "", 0, explain(key, err)
}

var (
	// busy are answers to a POST that a GET would get, too.
	busy = []int{http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}
	// noGET are the answers of endpoints that do not know GET.
	noGET = []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented}
)

// mayBeGetOnly reports whether the failure of a POST may be that of an endpoint
// that supports only GET, as the older of the two token specs has it. Such
// endpoints answer in many ways, from 400 (ACR), 401 (Artifactory) and 404
// (GCR) to 500, or with a page. After a 500, GET is tried only once, since a
// 500 may as well be transient.
func mayBeGetOnly(err error, first bool) bool {
	var status *statusError
	if errors.As(err, &status) {
		return !slices.Contains(busy, status.code) && (first || status.code != http.StatusInternalServerError)
	}
	var none *noTokenError
	return errors.As(err, &none)
}

// noTokenError is the error for a 200 without a usable token.
type noTokenError struct{ reason string }

func (e *noTokenError) Error() string { return e.reason }

// statusError is an answer of a token endpoint other than 200.
type statusError struct {
	realm string
	code  int
	wait  time.Duration // from Retry-After; 0: none
}

// Answer implements [retry.Answered].
func (e *statusError) Answer() (int, time.Duration) { return e.code, e.wait }

func (e *statusError) Error() string {
	text := fmt.Sprintf("token endpoint %s answered %d %s", host(e.realm), e.code, http.StatusText(e.code))
	if e.wait > 0 {
		text += fmt.Sprintf(", asking to wait for %s", e.wait.Round(time.Second))
	}
	return text
}

// explain adds what a token was for, and turns an endpoint's refusal into a
// [DeniedError].
func explain(key tokenKey, err error) error {
	var status *statusError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &status):
		return fmt.Errorf("token for %s: %w", key.repository, err)
	}
	switch status.code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return &DeniedError{
			Repository: key.repository,
			Credential: key.credential.Source,
			Scope:      key.scope,
			Answer:     status.Error(),
			Anonymous:  key.credential.Anonymous(),
			Refused:    status.code == http.StatusUnauthorized && !key.credential.Anonymous(),
			NoToken:    true,
		}
	}
	return fmt.Errorf("token for %s: %w: %w", key.repository, err, errdefs.ErrUnavailable)
}

func getRequest(ctx context.Context, key tokenKey) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, key.realm, nil)
	if err != nil {
		return nil, err
	}
	query := req.URL.Query()
	if key.service != "" {
		query.Set("service", key.service)
	}
	query["scope"] = strings.Fields(key.scope)
	req.URL.RawQuery = query.Encode()
	if c := key.credential; c.Password != "" {
		req.SetBasicAuth(c.Username, string(c.Password))
	}
	return req, nil
}

func postRequest(ctx context.Context, key tokenKey) (*http.Request, error) {
	form := url.Values{
		"client_id": {"nested"},
		"service":   {key.service},
		"scope":     {key.scope},
	}
	if c := key.credential; c.IdentityToken != "" {
		form.Set("grant_type", "refresh_token")
		form.Set("refresh_token", string(c.IdentityToken))
	} else {
		form.Set("grant_type", "password")
		form.Set("username", c.Username)
		form.Set("password", string(c.Password))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, key.realm, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	return req, nil
}

// exchange sends a request and reads the token from the answer.
func (t *tokens) exchange(ctx context.Context, key tokenKey, build func(context.Context, tokenKey) (*http.Request, error)) (string, time.Duration, error) {
	req, err := build(Small(ctx), key)
	if err != nil {
		return "", 0, err
	}
	if t.userAgent != "" {
		req.Header.Set("User-Agent", t.userAgent)
	}
	t.metrics.Tokens.Add(1)
	resp, err := t.client.Do(req)
	if err != nil {
		return "", 0, fmt.Errorf("token endpoint %s: %w", host(key.realm), WithoutURL(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", 0, &statusError{key.realm, resp.StatusCode, retry.After(resp)}
	}
	token, lifetime, err := readToken(resp.Body)
	if err != nil {
		return "", 0, fmt.Errorf("token endpoint %s: %w", host(key.realm), err)
	}
	return token, lifetime, nil
}

// readToken reads an endpoint's answer. access_token takes precedence over
// token. An expires_in that is not a positive number counts as absent.
func readToken(body io.Reader) (token string, lifetime time.Duration, err error) {
	data, err := io.ReadAll(io.LimitReader(body, maxToken+1))
	if err != nil {
		return "", 0, err
	}
	if len(data) > maxToken {
		return "", 0, fmt.Errorf("its answer is longer than %d bytes", maxToken)
	}
	var answer struct {
		Token       string          `json:"token"`
		AccessToken string          `json:"access_token"`
		ExpiresIn   json.RawMessage `json:"expires_in"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return "", 0, &noTokenError{"its answer is not a token in JSON"}
	}
	if token = answer.AccessToken; token == "" {
		token = answer.Token
	}
	if token == "" {
		return "", 0, &noTokenError{"its answer holds no token"}
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", 0, errors.New("its token has characters that tokens cannot have")
	}
	return token, readLifetime(answer.ExpiresIn), nil
}

func readLifetime(raw json.RawMessage) time.Duration {
	seconds, err := strconv.ParseFloat(string(bytes.Trim(raw, `"`)), 64)
	if err != nil || !(seconds > 0) {
		return defaultLifetime
	}
	return time.Duration(min(seconds, maxLifetime.Seconds()) * float64(time.Second))
}

// checkTokenRedirect lets a token endpoint redirect within its own origin
// only: what is sent to it holds the credential.
func checkTokenRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects || !SameOrigin(req.URL, via[0].URL) {
		return refuse("refused to follow its redirect to %s://%s", req.URL.Scheme, req.URL.Host)
	}
	return nil
}

// host returns the part of a realm that errors show.
func host(realm string) string {
	u, err := url.Parse(realm)
	if err != nil {
		return strconv.Quote(realm)
	}
	return u.Host
}
