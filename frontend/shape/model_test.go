package shape

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whole models: types of some values, and what their extents count as.
var modelCases = []struct {
	name, text string
	options    Options
	values     string
	want       string
}{
	{
		"shape arithmetic", `
		in x float32[N,C,H,W]
		let one int64[1] 1
		let zero int64[] 0
		let two int64[1] 2
		let minus int64[1] -1
		let ax int64[1] 0
		s = Shape@17 (x)
		n = Gather axis=0 (s, zero)
		nu = Unsqueeze (n, ax)
		hw = Slice (s, two, maxint, ax)
		let maxint int64[1] 9223372036854775807
		hw2 = Mul (hw, two)
		cn = Slice (s, ax, two, ax)
		full = Concat axis=0 (cn, hw2)
		up = Expand (x2, full)
		let x2 float32[1,1,1,1]
		shape = Concat axis=0 (nu, minus)
		y = Reshape (x, shape)
		all = ReduceProd keepdims=0 (s)`,
		Options{Inputs: map[string][]int64{"x": {2, 3, 4, 5}}},
		"up y all", "float32[N,C,2*H,2*W] float32[N,C*H*W] int64[]",
	},
	{
		"cache of keys", `
		in past float32[batch,4,past,32]
		in cur float32[batch,4,seq,32]
		in mask float32[batch,past + seq]
		let at int64[] 2
		k = Concat@17 axis=2 (past, cur)
		s = Shape (k)
		t = Gather (s, at)
		one = Range (zero, t, step)
		let zero int64[] 0
		let step int64[] 1
		scores = MatMul (cur, kt)
		kt = Transpose perm=[0,1,3,2] (k)
		m = Unsqueeze (mask, ax)
		let ax int64[2] 1 2
		z = Add (scores, m)`,
		Options{Dims: map[string]int64{"past": 7}},
		"k one z", "float32[batch,4,past + seq,32] int64[past + seq] float32[batch,4,seq,past + seq]",
	},
	{
		"expand as exporters write it", `
		in x float32[N,1,4]
		let target int64[3] -1 5 -1
		s = Shape@17 (target)
		ones = ConstantOfShape value=1 (s)
		let minus int64[1] -1
		let one int64[3] 1 1 1
		eq = Equal (target, minus)
		t = Where (eq, one, target)
		y = Expand (x, t)`,
		Options{},
		"t y", "int64[3][1 5 1] float32[N,5,4]",
	},
	{
		"scale by a float", `
		in x float32[1,3,H,W]
		s = Shape@17 start=2 (x)
		f = Cast to=1 (s)
		let half float32[] 0.5
		h = Mul (f, half)
		fl = Floor (h)
		i = Cast to=7 (fl)
		nc = Shape end=2 (x)
		sizes = Concat axis=0 (nc, i)
		y = Resize (x, _, _, sizes)`,
		Options{},
		"y", "float32[1,3,floor(H/2),floor(W/2)]",
	},
	{
		"if of one shape", `
		in c bool[]
		in x float32[N,3]
		graph a
		p = Relu (x)
		out p float32
		end
		graph b
		q = Tanh (x)
		out q float32
		end
		y = If@17 then_branch=@a else_branch=@b (c)`,
		Options{},
		"y", "float32[N,3]",
	},
	{
		"if of two shapes", `
		in c bool[]
		in x float32[N,3]
		graph a
		p = Concat axis=0 (x, x)
		out p float32
		end
		graph b
		q = Concat axis=1 (x, x)
		out q float32
		end
		y = If@17 then_branch=@a else_branch=@b (c)
		z = If then_branch=@a else_branch=@b (yes)
		let yes bool[] 1`,
		Options{},
		"y z", "float32[?,?] float32[2*N,3]",
	},
	{
		"if of two ranks", `
		in c bool[]
		in x float32[1,3]
		let ax int64[1] 0
		graph a
		p = Squeeze (x, ax)
		out p float32
		end
		graph b
		q = Relu (x)
		out q float32
		end
		y = If@17 then_branch=@a else_branch=@b (c)
		z = Neg (y)`,
		Options{},
		"y z", "float32[...] float32[...]",
	},
	{
		"loop that keeps its shape", `
		in x float32[N,3]
		let m int64[] 5
		let go bool[] 1
		graph body
		in i int64[]
		in c bool[]
		in v float32
		w = Add (v, x)
		d = Identity (c)
		e = Relu (w)
		out d bool[]
		out w float32
		out e float32
		end
		last, all = Loop@17 body=@body (m, go, x)`,
		Options{},
		"last all", "float32[N,3] float32[5,N,3]",
	},
	{
		"loop that grows", `
		in x float32[2,3]
		in n int64[]
		let go bool[] 1
		graph body
		in i int64[]
		in c bool[]
		in v float32
		w = Concat axis=0 (v, x)
		d = Identity (c)
		out d bool[]
		out w float32
		end
		let m int64[] 4
		a = Loop@17 body=@body (m, go, x)
		b = Loop body=@body (n, go, x)`,
		Options{},
		"a b", "float32[10,3] float32[?,3]",
	},
	{
		"loop that appends to a sequence", `
		in x float32[2,3]
		let m int64[] 4
		let go bool[] 1
		empty = SequenceEmpty@17 ()
		graph body
		in i int64[]
		in c bool[]
		in v
		w = SequenceInsert (v, x)
		d = Identity (c)
		out d bool[]
		out w
		end
		s = Loop body=@body (m, go, empty)
		y = ConcatFromSequence axis=0 new_axis=1 (s)`,
		Options{},
		"y", "float32[?,2,3]",
	},
	{
		"scan", `
		in x float32[T,N,4]
		in h float32[N,8]
		let w float32[4,8]
		graph body
		in s float32
		in e float32
		p = MatMul (e, w)
		r = Add (p, s)
		o = Relu (r)
		out r float32
		out o float32
		end
		last, all = Scan@17 body=@body num_scan_inputs=1 (h, x)`,
		Options{},
		"last all", "float32[N,8] float32[T,N,8]",
	},
	{
		"sequence map", `
		in a float32[2,3]
		in b float32[4,3]
		s = SequenceConstruct@17 (a, b)
		graph body
		in e float32
		f = Transpose (e)
		out f float32
		end
		t = SequenceMap body=@body (s)
		let k int64[] 1
		y = SequenceAt (t, k)
		n = SequenceLength (t)`,
		Options{},
		"y n", "float32[3,?] int64[][2]",
	},
	{
		"function with attributes", `
		in x float32[N,3]
		function Twice (a) (b)
		c = Concat axis=&along (a, a)
		b = local::Half (c)
		end
		function Half (a) (b)
		b = Relu (a)
		end
		y = local::Twice@17 along=0 (x)
		z = local::Twice along=1 (x)`,
		Options{},
		"y z", "float32[2*N,3] float32[N,6]",
	},
	{
		"functions that make unknown extents", `
		in x float32[N]
		function Pick (a) (b)
		b = NonZero (a)
		end
		y = local::Pick@17 (x)
		z = local::Pick (x)
		w = Concat axis=0 (y, z)`,
		Options{},
		"y z w", "int64[1,?] int64[1,?] int64[2,?]",
	},
	{
		"optional input of a function", `
		in x float32[N,3]
		function F (a, lo) (b)
		b = Clip (a, lo)
		end
		y = local::F@17 (x)`,
		Options{},
		"y", "float32[N,3]",
	},
	{
		"replaceable input", `
		in x float32[2,3]
		in pads int64[4]
		let pads int64[4] 0 1 0 1
		y = Pad@17 (x, pads)`,
		Options{},
		"y", "float32[?,?]",
	},
	{
		"declared where inference gives up", `
		in x float32[N,3]
		info h float32[N,7]
		h = local::Mystery (x)
		y = Relu@17 (h)`,
		Options{},
		"h y", "float32[...] float32[...]",
	},
}

func TestModels(t *testing.T) {
	for _, c := range modelCases {
		t.Run(c.name, func(t *testing.T) {
			r, err := inferText(t, c.text, c.options)
			if err != nil {
				t.Fatal(err)
			}
			if got := typesOf(r, strings.Fields(c.values)...); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// dimsOf are the extents that values count as, with a mark where they are assumed.
func dimsOf(r *Result, names ...string) []string {
	var out []string
	for _, n := range names {
		v, _ := r.Of(n)
		s := fmt.Sprint(v.Dims, v.Bytes)
		if v.Assumed {
			s += " assumed"
		}
		out = append(out, s)
	}
	return out
}

func TestBindings(t *testing.T) {
	const text = `
		in x float32[batch,3,?,W]
		in y float32[batch]
		z = GlobalMaxPool@17 (x)
		n = NonZero (y)`
	for _, c := range []struct {
		o    Options
		want []string
	}{
		{Options{}, []string{"[1 3 1 1] 12 assumed", "[1 3 1 1] 12 assumed", "[1 1] 8 assumed"}},
		{Options{Dims: map[string]int64{"batch": 8}}, []string{"[8 3 1 1] 96 assumed", "[8 3 1 1] 96", "[1 8] 64 assumed"}},
		{Options{Inputs: map[string][]int64{"x": {2, 3, 4, 5}}}, []string{"[2 3 4 5] 480", "[2 3 1 1] 24", "[1 2] 16 assumed"}},
	} {
		r, err := inferText(t, text, c.o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, dimsOf(r, "x", "z", "n")); diff != "" {
			t.Errorf("%v: %s", c.o, diff)
		}
	}
}

// An image of one pixel would leave nothing behind a window of three.
func TestAssumedSide(t *testing.T) {
	const text = `
		in x float32[N,3,H,?]
		let w float32[4,3,3,3]
		y = Conv@17 strides=[2,2] (x, w)`
	r, err := inferText(t, text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"[1 3 224 224] 602112 assumed", "[1 4 111 111] 197136 assumed"}, dimsOf(r, "x", "y")); diff != "" {
		t.Error(diff)
	}
	if got := typesOf(r, "y"); got != "float32[N,4,floor((H + 1)/2) - 1,?]" {
		t.Errorf("the type is %s", got)
	}
	r, err = inferText(t, text, Options{Inputs: map[string][]int64{"x": {1, 3, 9, 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"[1 4 4 0] 0"}, dimsOf(r, "y")); diff != "" {
		t.Error(diff)
	}
}

func TestBadBindings(t *testing.T) {
	const text = `
		in x float32[batch,3]
		in y float32[batch]
		z = Relu@17 (x)`
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Dims: map[string]int64{"bacth": 8}}, `value "bacth": the model has no symbolic extent of this name; it has batch`},
		{Options{Dims: map[string]int64{"batch": -8}}, `value "batch": an extent cannot be -8`},
		{Options{Inputs: map[string][]int64{"w": {1}}}, `value "w": the model has no input of this name to give a shape to`},
		{Options{Inputs: map[string][]int64{"x": {1}}}, `value "x": the shape given has 1 extents, the input has 2`},
		{Options{Inputs: map[string][]int64{"x": {1, 4}}}, `value "x": extent 1 is 3 in the model and cannot be 4`},
		{Options{Inputs: map[string][]int64{"x": {1, 3}, "y": {2}}}, `value "y": the shape given makes batch 2, but it is 1 already`},
	} {
		_, err := inferText(t, text, c.o)
		if err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %s", c.o, err, c.want)
		}
	}
}

func TestWhatONNXForbids(t *testing.T) {
	for _, c := range []struct{ node, ins, want string }{
		{"Concat@13 axis=9", "float32[2] float32[2]", `value "xa": axis 9 is out of range for a tensor of rank 1`},
		{"Transpose@13 perm=[0,0]", "float32[2,2]", `value "xa": perm [0 0] is no permutation of the 2 axes`},
		{"Transpose@13 perm=[0]", "float32[2,2]", `value "xa": perm has 1 entries for a tensor of rank 2`},
		{"Conv@11 strides=[0,1]", "float32[1,1,4,4] float32[1,1,2,2]", `value "xa": strides has the entry 0, want at least 1`},
		{"Conv@11 group=0", "float32[1,1,4,4] float32[1,1,2,2]", `value "xa": group is 0, want at least 1`},
		{"Conv@11 pads=[1]", "float32[1,1,4,4] float32[1,1,2,2]", `value "xa": pads has 1 entries for 2 spatial axes`},
		{"MaxPool@12", "float32[1,1,4,4]", `value "xa": kernel_shape is missing`},
		{"Reshape@14", "float32[4] int64[2]=-1,-1", `value "xb": the shape has more than one extent of -1`},
		{"Reshape@14", "float32[4] int64[2]=2,0", `value "xb": the shape copies extent 1 of a tensor of rank 1`},
		{"Slice@13", "float32[4] int64[1]=0 int64[1]=2 int64[1]=0 int64[1]=0", `value "xe": the step of axis 0 is 0`},
		{"Split@13 axis=2", "float32[4]", `value "xa": axis 2 is out of range for a tensor of rank 1`},
		{"Unsqueeze@13", "float32[4] int64[2]=0,0", `value "xa": axis 0 is inserted twice`},
		{"Einsum@12 equation='ij->k'", "float32[4,4]", `value "xa": the equation "ij->k" makes "k" from nothing`},
		{"DepthToSpace@13 blocksize=0", "float32[1,4,2,2]", `value "xa": blocksize 0 is not positive`},
	} {
		got := inferNode(t, c.node, c.ins, 1)
		if !strings.HasSuffix(got, c.want) || !strings.Contains(got, "node") {
			t.Errorf("%s %s: got %s", c.node, c.ins, got)
		}
	}
}

// TestWhatDoesNotFit wants an error or a note about shapes and attributes that contradict each other.
func TestWhatDoesNotFit(t *testing.T) {
	for _, c := range []struct{ node, ins, want string }{
		{"Conv@11", "float32[1,1,4,4] float32[1,1,2]", `an input of rank 4 cannot be convolved with weights of rank 3`},
		{"Conv@11", "float32[1,3,4,4] float32[1,1,2,2]", `the input has 3 channels, the weights take 1`},
		{"MaxPool@12 kernel_shape=[2]", "float32[4]", `an input of rank 1 has no axis to pool`},
		{"Conv@11 kernel_shape=[2]", "float32[1,1,4,4] float32[1,1,2,2]", `kernel_shape has 1 entries for 2 spatial axes`},
		{"Conv@11 kernel_shape=[0,2]", "float32[1,1,4,4] float32[1,1,2,2]", `kernel_shape has the entry 0, want at least 1`},
		{"ConvTranspose@11 output_padding=[1]", "float32[1,1,4,4] float32[1,1,2,2]", `output_padding has 1 entries for 2 spatial axes`},
		{"Range@11", "int64[]=0 int64[]=4 int64[]=0", `the step is 0`},
		{"ConstantOfShape@9", "int64[1]=-3", `the shape has an extent of -3, want at least 0`},
		{"Constant@13", "", `the constant has no value`},
		{"Slice@13", "float32[4,4] int64[2]=0,0 int64[2]=2,2 int64[1]=0", `1 axes are given for 2 slices`},
		{"GatherND@13", "float32[4] int64[1,3]=0,0,0", `indices of 3 entries behind 0 batch axes do not fit a tensor of rank 1`},
		{"Concat@13 axis=0", "float32[2] float32[2,2]", `tensors of rank 1 and 2 cannot be concatenated`},
		{"Concat@13 axis=0", "float32[2,2] float32[2,3]", `extent 1 is 2 in one input and 3 in another`},
		{"Tile@13", "float32[4] int64[2]=1,2", `2 repeats are given for a tensor of rank 1`},
		{"Pad@13", "float32[4] int64[3]=1,2,3", `3 pads are given for 1 axes`},
		{"Pad@13", "float32[4] int64[2]=-3,-3", `extent 0 would be -2`},
		{"DepthToSpace@13 blocksize=2", "float32[4,2]", `the input has rank 2, not 4`},
		{"MatMul@13", "float32[] float32[2,2]", `a scalar cannot be multiplied as a matrix`},
		{"MatMul@13", "float32[2,3] float32[2,2]", `the inner extents 3 and 2 of the product differ`},
		{"Gemm@13", "float32[2,3,4] float32[2,2]", `the inputs of a general matrix product must have rank 2, one has 3`},
		{"Einsum@12 equation='ij,jk->ik'", "float32[4,4]", `the equation "ij,jk->ik" has 2 terms for 1 inputs`},
		{"Einsum@12 equation='ijk->k'", "float32[4,4]", `the term "ijk" of the equation does not fit a tensor of rank 2`},
		{"Einsum@12 equation='ii->i'", "float32[4,3]", `extents 4 and 3 of "i" differ`},
		{"LSTM@14 direction='sideways' hidden_size=2", "float32[1,1,2] float32[1,8,2] float32[1,8,2]", `direction "sideways" is not one of forward, reverse, bidirectional`},
		{"LSTM@14 hidden_size=2", "float32[1,1,2] float32[2,8,2] float32[2,8,2]", `the weights are for 2 directions`},
		{"LSTM@14 hidden_size=2", "float32[1,2] float32[1,8,2] float32[1,8,2]", `the input has rank 2, not 3`},
		{"Reshape@14", "float32[4] int64[1]=-3", `the shape has an extent of -3, want at least -1`},
		{"Reshape@14", "float32[4] int64[1]=3", `4 elements cannot be reshaped to 3`},
		{"Reshape@14", "float32[4] int64[2]=3,-1", `4 elements cannot be divided by 3`},
		{"Squeeze@13", "float32[4] int64[1]=0", `axis 0 has extent 4 and cannot be squeezed`},
		{"Resize@13", "float32[1,1,4,4] float32[0] float32[2]=1,2", `2 scales are given for 4 axes`},
		{"Resize@13", "float32[1,1,4,4] float32[0] float32[0] int64[2]=1,2", `2 sizes are given for 4 axes`},
		{"Split@13 axis=0", "float32[5]", `extent 5 cannot be split into 2 equal parts`},
		{"Add@14", "float32[5] float32[4]", `extents 5 and 4 do not broadcast`},
	} {
		text, op, attrs := nodeText(c.node, c.ins, 2)
		r, err := inferText(t, text+op+" "+attrs, Options{})
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprint(r.Notes())
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s %s: got %s, want %s", c.node, c.ins, got, c.want)
		}
	}
}

// What ONNX forbids is no reason to refuse a model whose branch may never run.
func TestForbiddenInABranch(t *testing.T) {
	r, err := inferText(t, `
		in c bool[]
		in x float32[3]
		graph a
		p = Transpose perm=[1,0] (x)
		out p float32
		end
		graph b
		q = Relu (x)
		out q float32
		end
		y = If@17 then_branch=@a else_branch=@b (c)`, Options{})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, n := range r.Notes() {
		found = found || n.Kind == Contradiction && strings.Contains(n.Text, "can never run")
	}
	if !found {
		t.Errorf("no note of the branch in %v", r.Notes())
	}
}

func TestNotes(t *testing.T) {
	r, err := inferText(t, `
		in x float32[N,?]
		info h float32[3,4]
		h = Relu@17 (x)
		out y float32[5]
		n = NonZero (x)
		info d int64[2,6]
		d = NonZero (x)
		q = acme::Op (x)
		a = Add (k1, k2)
		let k1 float32[2]
		let k2 float32[3]
		y = Identity (k1)`, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range r.Notes() {
		got = append(got, n.String())
	}
	want := []string{
		`assumed-symbol: "N": the symbolic extent is not bound: it counts as 1; bind it, for example with --shape N=8`,
		`assumed-symbol: "x": extent 1 of the input is not declared: it counts as 1; give it a shape with --shape x=...`,
		`data-dependent: node "NonZero → n": "n": extent 1 depends on how many elements are not zero: it counts as 1`,
		`data-dependent: node "NonZero → d": "d": extent 1 depends on contents: it counts as 6, as the model declares`,
		`unknown-op: node "Op → q": "q": operator acme::Op is not known: its outputs have the types that the model declares for them, if any`,
		`unknown-type: node "Op → q": "q": type and shape cannot be inferred: it counts as one element of 4 bytes`,
		`contradiction: node "Add → a": "a": extents 2 and 3 do not broadcast`,
		`contradiction: node "Identity → y": "y": the model declares extent 0 as 5, inference gives 2`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCycle(t *testing.T) {
	_, err := inferText(t, `
		in x float32[2]
		a = Add@17 (x, b)
		b = Relu (a)`, Options{})
	if err == nil || !strings.Contains(err.Error(), "the node depends on its own output: the graph has a cycle") {
		t.Errorf("got %v", err)
	}
	r, err := inferText(t, `
		in x float32[2]
		c = Neg@17 (b)
		b = Relu (a)
		a = Add (x, x)`, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, n := range r.Main().Nodes() {
		order = append(order, n.GetOpType())
	}
	if diff := cmp.Diff([]string{"Add", "Relu", "Neg"}, order); diff != "" {
		t.Error(diff)
	}
}
