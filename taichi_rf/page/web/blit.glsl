// A picture onto the screen, as large as that is.
precision highp float;
precision highp sampler2D;
uniform sampler2D picture;
uniform vec2 size;   // pixels of the screen
uniform vec2 share;  // of the texture's sides that the picture takes
out vec4 pixel;
void main() {
  pixel = texture(picture, gl_FragCoord.xy / size * share);
}
