package result

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/template"
)

// HasCurve reports whether there is something to plot.
func (r *Report) HasCurve() bool {
	for _, arm := range r.Arms {
		if len(arm.Curve) > 0 {
			return true
		}
	}
	return false
}

// The measures of the picture, in pixels.
const (
	plotWidth, plotHeight             = 800, 440
	plotLeft, plotRight               = 80, 20
	plotTop, plotBottom               = 60, 110
	plotAreaWidth, plotAreaHeight     = plotWidth - plotLeft - plotRight, plotHeight - plotTop - plotBottom
	legendColumns, legendLine, ticksN = 2, 22, 5
	legendRows                        = 2 // for which plotBottom has room
)

// Colours that most people with a colour vision deficiency can tell apart
// (Okabe and Ito).
var plotColours = [...]string{"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"}

type plotLine struct {
	Name, Colour, Dash, Path string
	LegendX, LegendY         int
}

type plotTick struct {
	At    float64
	Label string
}

type plotNote struct {
	X, Y float64
	Text string
}

type plotted struct {
	Width, Height, Left, Top, Right, Bottom, Middle int
	Title, XTitle, YTitle                           string
	XTicks, YTicks                                  []plotTick
	Lines                                           []plotLine
	Notes                                           []plotNote
}

// Plot is a picture of lines over two axes that begin at 0.
type Plot struct {
	Title, XTitle, YTitle string
	// XMax is the least end of the x axis. If a point has a larger X, the axis ends
	// there.
	XMax  float64
	XStep float64 // between two marks of the x axis; 0: Write chooses
	Lines []Line
}

// Line is one line of a Plot. A line without points is left out.
type Line struct {
	Name   string
	Points []Point
	Notes  []string // beside the points of the same index; may be shorter than Points
}

var plotTemplate = template.Must(template.New("plot").Parse(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{.Width}} {{.Height}}" font-family="sans-serif" font-size="13" fill="#222">
<title>{{.Title}}</title>
<rect width="{{.Width}}" height="{{.Height}}" fill="#fff"/>
<text x="{{.Left}}" y="28" font-size="16">{{.Title}}</text>
<text x="{{.Left}}" y="48" fill="#666">{{.YTitle}}</text>
{{range .YTicks}}<line x1="{{$.Left}}" x2="{{$.Right}}" y1="{{printf "%.1f" .At}}" y2="{{printf "%.1f" .At}}" stroke="#ddd"/>
<text x="{{$.Left}}" dx="-8" y="{{printf "%.1f" .At}}" dy="4" text-anchor="end">{{.Label}}</text>
{{end}}{{range .XTicks}}<text x="{{printf "%.1f" .At}}" y="{{$.Bottom}}" dy="20" text-anchor="middle">{{.Label}}</text>
{{end}}<text x="{{.Middle}}" y="{{.Bottom}}" dy="42" text-anchor="middle" fill="#666">{{.XTitle}}</text>
{{range .Lines}}<polyline points="{{.Path}}" fill="none" stroke="{{.Colour}}" stroke-width="2"{{with .Dash}} stroke-dasharray="{{.}}"{{end}}/>
<path d="M{{.LegendX}} {{.LegendY}}h28" stroke="{{.Colour}}" stroke-width="3"{{with .Dash}} stroke-dasharray="{{.}}"{{end}}/>
<text x="{{.LegendX}}" dx="36" y="{{.LegendY}}" dy="4">{{.Name}}</text>
{{end}}{{range .Notes}}<text x="{{printf "%.1f" .X}}" y="{{printf "%.1f" .Y}}" dx="6" dy="16" font-size="11">{{.Text}}</text>
{{end}}</svg>
`))

// WritePlot draws the curves of all arms as SVG: events per second over the
// events delivered.
func (r *Report) WritePlot(w io.Writer) error {
	p := Plot{Title: "outboxd bench " + r.Bench, XTitle: "events delivered", YTitle: "events per second"}
	for _, arm := range r.Arms {
		for _, point := range arm.Curve {
			p.XMax = max(p.XMax, point.X*(1+0.5/steps))
		}
		p.Lines = append(p.Lines, Line{Name: arm.Name, Points: arm.Curve})
	}
	return p.Write(w)
}

// Write draws the plot as SVG.
func (p Plot) Write(w io.Writer) error {
	xMax, yMax := p.XMax, 0.0
	for _, line := range p.Lines {
		for _, point := range line.Points {
			xMax, yMax = max(xMax, point.X), max(yMax, point.Y)
		}
	}
	if xMax == 0 || yMax == 0 {
		return fmt.Errorf("%s has no curve to plot", p.Title)
	}
	xStep, yStep := p.XStep, niceStep(yMax/ticksN)
	if xStep == 0 {
		xStep = niceStep(xMax / ticksN)
	}
	yMax = yStep * math.Ceil(yMax/yStep)
	place := func(point Point) (x, y float64) {
		return plotLeft + plotAreaWidth*point.X/xMax, plotTop + plotAreaHeight*(1-point.Y/yMax)
	}
	d := plotted{
		Width: plotWidth, Height: plotHeight, Left: plotLeft, Top: plotTop, Right: plotWidth - plotRight, Bottom: plotHeight - plotBottom,
		Middle: plotLeft + plotAreaWidth/2, Title: escape(p.Title), XTitle: escape(p.XTitle), YTitle: escape(p.YTitle),
	}
	if rows := (len(p.Lines) + legendColumns - 1) / legendColumns; rows > legendRows {
		d.Height += (rows - legendRows) * legendLine
	}
	for v := 0.0; v <= yMax*1.001; v += yStep {
		_, y := place(Point{Y: v})
		d.YTicks = append(d.YTicks, plotTick{y, short(v)})
	}
	for v := 0.0; v <= xMax*1.001; v += xStep {
		x, _ := place(Point{X: v})
		d.XTicks = append(d.XTicks, plotTick{x, short(v)})
	}
	for _, line := range p.Lines {
		if len(line.Points) > 0 {
			d.add(line, place)
		}
	}
	return plotTemplate.Execute(w, d)
}

func (d *plotted) add(line Line, place func(Point) (x, y float64)) {
	n := len(d.Lines)
	drawn := plotLine{
		Name: escape(line.Name), Colour: plotColours[n%len(plotColours)],
		LegendX: plotLeft + n%legendColumns*(plotAreaWidth/legendColumns),
		LegendY: plotHeight - plotBottom + 66 + n/legendColumns*legendLine,
	}
	if n%2 == 1 {
		drawn.Dash = "7 4"
	}
	points := make([]string, 0, len(line.Points))
	for i, point := range line.Points {
		x, y := place(point)
		points = append(points, fmt.Sprintf("%.1f,%.1f", x, y))
		if i < len(line.Notes) {
			d.Notes = append(d.Notes, plotNote{x, y, escape(line.Notes[i])})
		}
	}
	drawn.Path = strings.Join(points, " ")
	d.Lines = append(d.Lines, drawn)
}

// niceStep rounds up to 1, 2 or 5 times a power of ten.
func niceStep(least float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, factor := range []float64{1, 2, 5} {
		if factor*power >= least {
			return factor * power
		}
	}
	return 10 * power
}

func short(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 4, 64) + " M"
	case v >= 1e3:
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + " k"
	default:
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
}

func escape(text string) string { return template.HTMLEscapeString(text) }
