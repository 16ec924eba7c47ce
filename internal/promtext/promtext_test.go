package promtext

import "testing"

const good = "# HELP a_total What.\n# TYPE a_total counter\na_total{x=\"1\",y=\"\\\\ \\\" \\n\"} 1e+03\na_total{x=\"2\"} 0\n# HELP b More.\n# TYPE b gauge\nb -1.5\n"

func TestParse(t *testing.T) {
	all, err := Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := all["a_total"].Value("x", "1", "y", "\\ \" \n"); v != 1000 || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if _, err := all["a_total"].Value(); err == nil {
		t.Error("two samples are one")
	}
	if v, err := all["b"].Value(); v != -1.5 || err != nil {
		t.Errorf("%v, %v", v, err)
	}
}

func TestRefuses(t *testing.T) {
	for what, text := range map[string]string{
		"no end":                  "# HELP b B.\n# TYPE b gauge\nb 1",
		"no type":                 "# HELP b B.\nb 1\n",
		"no help":                 "# TYPE b gauge\nb 1\n",
		"empty help":              "# HELP b \n# TYPE b gauge\nb 1\n",
		"counter without _total":  "# HELP b B.\n# TYPE b counter\nb 1\n",
		"gauge with _total":       "# HELP b_total B.\n# TYPE b_total gauge\nb_total 1\n",
		"unknown type":            "# HELP b B.\n# TYPE b thing\nb 1\n",
		"another family's sample": "# HELP b B.\n# TYPE b gauge\nc 1\n",
		"torn family":             good + "a_total{x=\"3\"} 0\n",
		"family twice":            good + "# HELP b B.\n",
		"series twice":            "# HELP b B.\n# TYPE b gauge\nb{x=\"1\",y=\"2\"} 1\nb{y=\"2\",x=\"1\"} 1\n",
		"label twice":             "# HELP b B.\n# TYPE b gauge\nb{x=\"1\",x=\"2\"} 1\n",
		"comma":                   "# HELP b B.\n# TYPE b gauge\nb{x=\"1\",} 1\n",
		"bare quote":              "# HELP b B.\n# TYPE b gauge\nb{x=\"\"\"} 1\n",
		"bad escape":              "# HELP b B.\n# TYPE b gauge\nb{x=\"\\t\"} 1\n",
		"bad value":               "# HELP b B.\n# TYPE b gauge\nb one\n",
		"negative counter":        "# HELP b_total B.\n# TYPE b_total counter\nb_total -1\n",
		"bad name":                "# HELP B B.\n# TYPE B gauge\nB 1\n",
	} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}
