package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

const minimal = "[gateway]\nmode = \"node\"\nregistries = [\"reg.test\"]\n"

// misspelt is a key that the linter would correct.
const misspelt = "adr" + "ess"

func TestParse(t *testing.T) {
	want := Default()
	want.Gateway.Mode, want.Gateway.Registries = "node", []string{"reg.test", "[::1]:5000"}
	want.Gateway.UpstreamTimeout, want.Gateway.Address = 10*time.Second, "127.0.0.1:0"
	want.Gateway.Allow = []string{"reg.test/team/**"}
	want.Log.Level, want.Log.Format = "debug", "json"
	want.Gateway.Prefetch, want.Nested.Properties = 0x10, []string{}
	for _, text := range []string{
		"log = {level = \"debug\", 'format' = '''json'''}\nnested.properties = []\n" +
			"[gateway] # a comment\nprefetch = 0x1_0\nmode='node'\n\"registries\" = [\n  \"reg.test\", # one\n  \"[::1]:5000\",\n]\n" +
			"upstream_timeout = \"10s\"\naddress = \"127.0.0.1:0\"\nallow = [\"reg.test/team/**\"]",
		"gateway.mode = \"no\\u0064e\"\r\ngateway . registries = ['reg.test', '[::1]:5000']\r\ngateway.upstream_timeout = '10000ms'\r\n" +
			"gateway.\"address\" = '127.0.0.1:0'\r\ngateway.allow = ['reg.test/team/**']\r\ngateway.prefetch = +16\r\n" +
			"[nested]\r\nproperties = []\r\n[log]\r\nlevel = 'debug'\r\nformat = 'json'\r\n",
	} {
		c, err := Parse("config.toml", []byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if !reflect.DeepEqual(*c, want) {
			t.Errorf("%q:\n%+v, want\n%+v", text, *c, want)
		}
	}
}

// reports lists files, and all that is reported about them after the file's name.
var reports = map[string][]string{
	"": {
		":1:1: gateway.mode is missing; must be node or pod",
		":1:1: gateway.registries is missing; name the registries to serve, host or host:port",
	},
	"[log]\n\n [gateway]\nregistries = []\nmode = \"both\"": {
		`:4:14: gateway.registries is empty; name the registries to serve, host or host:port`,
		`:5:8: gateway.mode is "both"; must be node or pod`,
	},
	"[gateway]\nregistries = [\"reg.test\"]\n": {`:1:2: gateway.mode is missing; must be node or pod`},

	// keys that there are not
	minimal + misspelt + " = \"127.0.0.1:7117\"\n":             {":4:1: unknown key gateway." + misspelt + "; did you mean address?"},
	minimal + "  upstream-timeuot = 1":                         {":4:3: unknown key gateway.upstream-timeuot; did you mean upstream_timeout?"},
	"unheard_of.x.y = {a = 1}\n" + minimal:                     {":1:1: unknown key unheard_of; remove it; nestctl config default lists the keys"},
	"prefetch = 7\n" + minimal:                                 {":1:1: unknown key prefetch; did you mean gateway.prefetch?"},
	minimal + "[gatewya]\nmode = 1\nmode = 2\n":                {":4:2: unknown key gatewya; did you mean gateway?"},
	minimal + "[log.x.y]\nz = 1\n":                             {":4:6: unknown key log.x; remove it; nestctl config default lists the keys"},
	minimal + "[[log.x]]\nz = 1\n":                             {":4:7: unknown key log.x; remove it; nestctl config default lists the keys"},
	minimal + "\"a\\u001b\\n.b\" = 1\n":                        {`:4:1: unknown key gateway."a\x1b\n.b"; remove it; nestctl config default lists the keys`},
	minimal + strings.Repeat("x", 100) + " = 1":                {":4:1: unknown key gateway." + strings.Repeat("x", 64) + "…; remove it; nestctl config default lists the keys"},
	minimal + "'x" + strings.Repeat("é", 100) + "' = 1":        {":4:1: unknown key gateway.\"x" + strings.Repeat("é", 31) + "\"…; remove it; nestctl config default lists the keys"},
	"log = {lvl = \"x\", format = \"text\"}\n" + minimal:       {":1:8: unknown key log.lvl; remove it; nestctl config default lists the keys"},
	"log = {lavel = \"x\", format = 7, level = 7}\n" + minimal: {":1:8: unknown key log.lavel; did you mean level?", ":1:30: log.format is an integer; must be a string", ":1:41: log.level is an integer; must be a string"},

	minimal + "[log]\nFORMAT = 1": {":5:1: unknown key log.FORMAT; did you mean format?"},

	// types
	minimal + "address = 7\nallow = \"x\"\ngrace = 5\n": {
		":4:11: gateway.address is an integer; must be a string",
		":5:9: gateway.allow is a string; must be a list of strings",
		`:6:9: gateway.grace is an integer; must be a duration such as "30s"`,
	},
	minimal + "address = true\nallow = {}\ngrace = 2020-01-01\nhosts_dir = 1.5\nstate_dir   =   [\"/x\"]\n": {
		":4:11: gateway.address is a boolean; must be a string",
		":5:9: gateway.allow is a table; must be a list of strings",
		`:6:9: gateway.grace is a date or time; must be a duration such as "30s"`,
		":7:13: gateway.hosts_dir is a float; must be a string",
		":8:17: gateway.state_dir is a list; must be a string",
	},
	minimal + "allow = [\"reg.test/a\", 7, [\"x\"],\n  \"a b\"]\n": {
		":4:9: gateway.allow has a list in it; must be a list of strings",
		":4:24: gateway.allow has an integer in it; must be a list of strings",
		`:5:3: gateway.allow has "a b" in it; must be registry/path with names of repositories, * or ** between slashes`,
	},
	"[gateway]\nmode = 7\nregistries = [7]\nallow = [\"reg.test/x\"]\n": {
		":2:8: gateway.mode is an integer; must be a string",
		":3:15: gateway.registries has an integer in it; must be a list of strings",
	},
	"[gateway]\nmode = \"node\"\nregistries = [\"reg.test\", 7]\nallow = [\"other.test/x\"]\n": {
		":3:27: gateway.registries has an integer in it; must be a list of strings",
	},
	"[gateway.mode]\nx = 1\n[gateway]\nregistries = [\"reg.test\"]\nmode = \"node\"": {
		":1:10: gateway.mode is a table; must be a string",
		":5:1: gateway.mode is there twice; remove this one or that in line 1",
	},
	"gateway = 7\nlog = \"x\"\nversion.x = 1\n": {
		":1:11: gateway is an integer; must be a table",
		":2:7: log is a string; must be a table",
		":3:1: version is a table; must be an integer",
	},
	"[[gateway]]\nmode = \"node\"\nregistries = [\"reg.test\"]\n[[log]]\n": {
		":1:3: gateway is a list of tables; must be one table, [gateway]",
		":4:3: log is a list of tables; must be one table, [log]",
	},
	"[gateway.mode]\nx = 1\n[gateway]\nregistries = [\"reg.test\"]\n": {":1:10: gateway.mode is a table; must be a string"},
	minimal + "prefetch = \"3\"\nmax_memory = 9223372036854775808\n": {
		":4:12: gateway.prefetch is a string; must be an integer",
		":5:14: gateway.max_memory is 9223372036854775808; must fit into 64 bits",
	},

	// keys that are there twice
	minimal + "mode = \"pod\"\n":                             {":4:1: gateway.mode is there twice; remove this one or that in line 2"},
	minimal + "[log]\n[gateway]\nmode = \"node\"\n":          {":5:2: gateway is there twice; remove this one or that in line 1", ":6:1: gateway.mode is there twice; remove this one or that in line 2"},
	"log.level = \"info\"\n" + minimal + "[log]\n":           {":5:2: log is there twice; remove this one or that in line 1"},
	"log = {}\nlog.level = \"info\"\nlog = {}\n" + minimal:   {":2:1: log is there twice; remove this one or that in line 1", ":3:1: log is there twice; remove this one or that in line 1"},
	"log = {level = \"info\", level = \"warn\"}\n" + minimal: {":1:24: log.level is there twice; remove this one or that in line 1"},

	// no TOML; what was before it is reported too
	minimal + "address = 20s\ngrace = 7":          {":4:13: syntax error; strings must be quoted"},
	minimal + "address = 7\nversion 1\ngrace = 7": {":4:11: gateway.address is an integer; must be a string", ":5:9: syntax error; expected '=' after key"},
	minimal + "x = \"\xff\"":                      {":4:6: syntax error; invalid UTF-8 character in basic string"},
	"\ufeff" + minimal:                            {":1:1: syntax error; invalid character at start of key: U+00EF 'ï'"},
	"[gateway":                                    {":1:8: syntax error; expected ']' to close table name"},

	// several at once, in the order of the file
	"version = 2\nlog.level = \"loud\"\n[gateway]\nmode = \"node\"\nregistries = [\"https://a.test\"]\n" + misspelt + " = 1\ngrace = \"soon\"\n": {
		":1:11: version is 2; must be 1, the version that this program knows",
		`:2:13: log.level is "loud"; must be error, warn, info or debug`,
		`:5:15: gateway.registries has "https://a.test" in it; must be host or host:port, as references name it`,
		":6:1: unknown key gateway." + misspelt + "; did you mean address?",
		`:7:9: gateway.grace is "soon"; must be a duration such as "30s"`,
	},
	strings.Repeat("#\n", maxFile): {": the file is larger than 1 MiB; must be a configuration file"},
}

func TestReports(t *testing.T) {
	for text, want := range reports {
		checkReport(t, text, want)
	}
}

func checkReport(t *testing.T, text string, want []string) {
	t.Helper()
	_, err := Parse("x.toml", []byte(text))
	var bad *Error
	if !errors.As(err, &bad) {
		t.Errorf("%.200q: %v, want %q", text, err, want)
		return
	}
	var has []string
	for _, p := range bad.Problems {
		has = append(has, strings.TrimPrefix(p.String(), "x.toml"))
		if p.Key != "" && !strings.Contains(p.Wrong, p.Key) {
			t.Errorf("%.200q: the key %q is not in %q", text, p.Key, p)
		}
	}
	if !reflect.DeepEqual(has, want) {
		t.Errorf("%.200q:\nhas  %q\nwant %q", text, has, want)
	}
	if all := "x.toml" + strings.Join(want, "; x.toml"); err.Error() != all || !errdefs.IsInvalidArgument(err) {
		t.Errorf("%.200q: %v, want %s", text, err, all)
	}
}

func TestDistance(t *testing.T) {
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"", "abc"}: 3, {"abc", ""}: 3, {"abc", "abc"}: 0, {"abc", "acb"}: 1, {"abc", "abxc"}: 1, {"kitten", "sitting"}: 3,
	} {
		if has := distance(pair[0], pair[1]); has != want {
			t.Errorf("%q: %d, want %d", pair, has, want)
		}
	}
}

// FuzzParse: no text ends the program, each problem has its place, and what is accepted is what is rendered.
func FuzzParse(f *testing.F) {
	f.Add(minimal)
	for text := range reports {
		if len(text) < 1000 {
			f.Add(text)
		}
	}
	for _, c := range samples() {
		f.Add(c.Render())
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("x.toml", []byte(text))
		if err != nil {
			var bad *Error
			if !errors.As(err, &bad) || len(bad.Problems) == 0 {
				t.Fatalf("%q: %v", text, err)
			}
			for _, p := range bad.Problems {
				checkProblem(t, text, p)
			}
			return
		}
		if err = c.Check(); err != nil {
			t.Errorf("%q is accepted: %v", text, err)
		}
		again, err := Parse("x.toml", []byte(c.Render()))
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%q:\n%+v, rendered\n%s\nis %+v, %v", text, c, c.Render(), again, err)
		}
	})
}

func checkProblem(t *testing.T, text string, p Problem) {
	t.Helper()
	lines := strings.Split(text, "\n")
	if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > len(lines[p.Line-1])+1 {
		t.Errorf("%q: no such place: %s", text, p)
	}
	if p.Wrong == "" || p.Fix == "" || len(fmt.Sprint(p)) > 1000 {
		t.Errorf("%q: %q", text, p)
	}
}
