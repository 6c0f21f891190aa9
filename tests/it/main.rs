mod hostile;
mod template;
