// Package clients holds the tests of the Azure clients for Go against the running server.
package clients

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	blobsAccount = "devstoreaccount1"
	// The emulators' own keys, published by Microsoft; `stabbur serve` refuses them.
	blobsKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
	documentsKey = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="

	readyMax = 20 * time.Second
	stopMax  = 20 * time.Second
)

var (
	loud     = regexp.MustCompile(`\b(WARN|ERROR)\b|panicked`)
	expected = regexp.MustCompile(`well-known|development`)
	colours  = regexp.MustCompile(`\x1b\[[0-9;]*m`)
)

// server is the one that all tests share.
var server *runningServer

// TestMain starts a server on free ports; at the end its log must be quiet.
func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	started, err := start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	server = started
	code := m.Run()
	if err := server.stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

type runningServer struct {
	folder    string
	process   *exec.Cmd
	ended     chan error
	database  *database
	endpoints struct {
		Blobs, Documents, Admin, Ca string
	}
}

func start() (*runningServer, error) {
	binary := os.Getenv("STABBUR_BINARY")
	if binary == "" {
		return nil, errors.New("STABBUR_BINARY names no server; run `cargo xtask test`")
	}
	folder, err := os.MkdirTemp("", "stabbur-clients-")
	if err != nil {
		return nil, err
	}
	s := &runningServer{folder: folder, ended: make(chan error, 1)}
	ready := filepath.Join(folder, "ready.json")
	arguments := []string{"dev", "--data", filepath.Join(folder, "data"), "--blobs-port", "0", "--documents-port", "0",
		"--platform-port", "0", "--admin-port", "0", "--vault-port", "0", "--login-port", "0", "--registry-port", "0",
		"--ready-file", ready}
	if at := os.Getenv("STABBUR_POSTGRES"); at != "" {
		if s.database, err = newDatabase(at); err != nil {
			return nil, err
		}
		arguments = append(arguments, "--ledger-postgres", s.database.parameters())
	}
	content, err := contentArguments(folder)
	if err != nil {
		return nil, err
	}
	s.process = exec.Command(binary, append(arguments, content...)...)
	log, err := os.Create(s.logPath())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.process.Stdout, s.process.Stderr = log, log
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	go func() { s.ended <- s.process.Wait() }()
	for deadline := time.Now().Add(readyMax); ; time.Sleep(10 * time.Millisecond) {
		if text, err := os.ReadFile(ready); err == nil && json.Unmarshal(text, &s.endpoints) == nil {
			return s, nil
		}
		select {
		case err := <-s.ended:
			return nil, fmt.Errorf("the server stopped at start: %v\n%s", err, s.log())
		default:
		}
		if time.Now().After(deadline) {
			_ = s.process.Process.Kill()
			return nil, fmt.Errorf("the server isn't ready after %v:\n%s", readyMax, s.log())
		}
	}
}

// stop asks the server to end; it must do so by itself, with success and a quiet log.
func (s *runningServer) stop() error {
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-s.ended:
		if err != nil {
			return fmt.Errorf("the server stopped with %v:\n%s", err, s.log())
		}
	case <-time.After(stopMax):
		_ = s.process.Process.Kill()
		return fmt.Errorf("the server didn't stop within %v", stopMax)
	}
	var unexpected []string
	lines := bufio.NewScanner(strings.NewReader(colours.ReplaceAllString(s.log(), "")))
	for lines.Scan() {
		if loud.MatchString(lines.Text()) && !expected.MatchString(lines.Text()) {
			unexpected = append(unexpected, lines.Text())
		}
	}
	if len(unexpected) > 0 {
		return fmt.Errorf("the server's log has lines that no test expected:\n%s", strings.Join(unexpected, "\n"))
	}
	if s.database != nil {
		if err := s.database.drop(); err != nil {
			return err
		}
	}
	return os.RemoveAll(s.folder)
}

func (s *runningServer) logPath() string { return filepath.Join(s.folder, "server.log") }

func (s *runningServer) log() string {
	text, _ := os.ReadFile(s.logPath())
	return string(text)
}

// blobs is the base of the development account.
func (s *runningServer) blobs() string {
	base := strings.TrimSuffix(s.endpoints.Blobs, "/")
	if strings.HasSuffix(base, blobsAccount) {
		return base
	}
	return base + "/" + blobsAccount
}

// trusting is an HTTP client that trusts the development server's authority.
func (s *runningServer) trusting() (*http.Client, error) {
	authority, err := os.ReadFile(s.endpoints.Ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, errors.New("the development authority's file has no certificate")
	}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true,
	}}, nil
}

// advance moves the server's clock: leases, tokens and time-to-live move with it.
func (s *runningServer) advance(t *testing.T, time time.Duration) {
	t.Helper()
	body := strings.NewReader(fmt.Sprintf(`{"advanceSeconds":%d}`, int(time.Seconds())))
	answer, err := http.Post(strings.TrimSuffix(s.endpoints.Admin, "/")+"/dev/clock", "application/json", body)
	must(t, err)
	answer.Body.Close()
	equal(t, answer.StatusCode, http.StatusOK)
}

func overTLS(address string) string { return strings.Replace(address, "http://", "https://", 1) }

func chance() string {
	bytes := make([]byte, 6)
	_, _ = rand.Read(bytes)
	return hex.EncodeToString(bytes)
}

// database is one server's ledger, in the PostgreSQL server that STABBUR_POSTGRES names.
type database struct{ server, name string }

func newDatabase(at string) (*database, error) {
	d := &database{server: at, name: "clients_" + chance()}
	return d, d.run("CREATE DATABASE " + d.name)
}

func (d *database) parameters() string { return d.server + " dbname=" + d.name }

func (d *database) drop() error { return d.run("DROP DATABASE " + d.name + " WITH (FORCE)") }

func (d *database) run(statement string) error {
	said, err := exec.Command("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1",
		d.server+" dbname=postgres", "-c", statement).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", statement, err, said)
	}
	return nil
}

// contentArguments leads to the object store that STABBUR_CONTENT names, below a prefix of this server's own: a
// file as `--content-config` takes it, without a prefix.
func contentArguments(folder string) ([]string, error) {
	named := os.Getenv("STABBUR_CONTENT")
	if named == "" {
		return nil, nil
	}
	text, err := os.ReadFile(named)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(folder, "content.toml")
	text = append(text, fmt.Sprintf("prefix = \"clients-%s\"\n", chance())...)
	return []string{"--content-config", config}, os.WriteFile(config, text, 0o600)
}
