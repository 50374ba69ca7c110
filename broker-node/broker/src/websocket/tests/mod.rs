mod frames;
mod upgrade;
mod write;
