"""How models come to be: data, networks, fitting, export. The only room that knows TensorFlow."""
