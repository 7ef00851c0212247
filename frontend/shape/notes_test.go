package shape

import (
	"fmt"
	"strings"
	"testing"
)

// TestWhatIsSaid wants an error or a note about each model.
func TestWhatIsSaid(t *testing.T) {
	ones, ascending := strings.Repeat(" 1", 300), ""
	for i := range 300 {
		ascending += fmt.Sprint(" ", i)
	}
	for _, c := range []struct{ text, want string }{
		{"in x float32[4]\nin s int64[?]\ny = Reshape@14 (x, s)\nz = Transpose perm=[1,0] (y)", "if what is assumed of its inputs holds"},
		{"in x float32[1,8,4,4]\ny = com.microsoft.nchwc::ReorderOutput@14 channels=0 (x)", "channels is 0, want at least 1"},
		{"in x float32[4]\nin c bool[]\ngraph a\np = Relu (x)\nout p float32\nend\ngraph b\nq = Unsqueeze (x, ax)\nlet ax int64[1] 0\nout q float32\nend\ny = If@17 then_branch=@a else_branch=@b (c)", "the rank depends on the branch: it counts as 1"},
		{"in x float32[4]\ngraph b\nin e float32\no = Relu (e)\nout o float32\nend\ny = Scan@17 num_scan_inputs=3 body=@b (x)", "num_scan_inputs is 3 but the node has 1 inputs"},
		{"in x float32[4]\ngraph b\nin e float32\no = Relu (e)\nout o float32\nend\ny = Scan@8 num_scan_inputs=3 body=@b (_, x)", "num_scan_inputs is 3 but the node has 2 inputs"},
		{"in x float32\ngraph b\nin e float32\no = Relu (e)\nout o float32\nend\ny = Scan@17 num_scan_inputs=1 body=@b (x)", "the number of iterations is not known: it counts as 1"},
		{"in x float32[4]\nout y seq float32\ny = Relu@17 (x)", "the model declares a sequence, inference gives a tensor"},
		{"in x float32[4]\nout y int64[4]\ny = Relu@17 (x)", "the model declares elements of type int64, inference gives float32"},
		{"in x float32[4]\nout y float32[2,2]\ny = Relu@17 (x)", "the model declares rank 2, inference gives 1"},
		{"in x float32[N]\nlet p int64[2] -3 0\ny = Pad@17 (x, p)", "with the bound and assumed shapes extent 0 would be -2: it counts as 0; bind larger shapes"},
		{"in x float32[4]\nin s int64[?]\ny = Expand@17 (x, s)", "the rank cannot be inferred: it counts as one element"},
		{"let s int64[300]" + ones + "\ny = ConstantOfShape@17 (s)", "a tensor of rank 300 is more than is followed: its shape counts as unknown"},
		{"in x float32[4]\nlet s int64[300]" + ascending + "\ny = Unsqueeze@17 (x, s)", "a tensor of rank 301 is more than is followed"},
		{"in x float32[6]\na, b = Split@11 split=[1,2,3] (x)", "the node has 2 outputs but splits into 3"},
		{"in x float32[6]\na, b = Split@18 num_outputs=3 (x)", "the node has 2 outputs but splits into 3"},
		{"in x float32[2,4]\nin w uint8[8,1,8]\nin s float32[8]\ny = com.microsoft::MatMulNBits@17 K=16 N=8 bits=4 block_size=16 (x, w, s)", "the input has 4 columns, the weights 16 rows"},
		{"in x float32[4]\ny = Add@14 (x, _)", "input 1 of Add is left out, but the operator needs it"},
		{"in x float32[4]\nin s int64[?]\ny = Reshape@14 (x, s)", "the shape that the node makes depends on contents: its output counts as a vector of as many elements"},
		{"in x float32[3,4]\nlet s int64[1] 2\ny = CenterCropPad@18 (x, s)", "1 extents are given for 2 axes"},
		{"in x float32[N,4]\ny = Squeeze@17 (x)", "the rank depends on which extents are 1"},
	} {
		r, err := inferText(t, c.text, Options{})
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprint(r.Notes())
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s:\ngot %s\nwant %s", c.text, got, c.want)
		}
	}
}
